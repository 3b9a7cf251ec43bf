"""The jobs repository: a bare git repository that every job is read from and every write is a commit to.

No work tree and no index: commits are built from objects and the branch moves by compare-and-swap. Everything
here may be called from any thread. Source: architecture.md, "Jobs"; api.md, "Jobs".
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from odin.jobs import home, refs, roundtrip
from odin.jobs.failures import translated
from odin.jobs.objects import EXECUTABLE, Blob, Entry, Git, blob, find, sha_of, store, tree_of, walk
from odin.jobs.packing import Packing
from odin.jobs.reader import Reader, content_of, file_in
from odin.jobs.refs import Branch
from odin.jobs.remote import Remote
from odin.jobs.values import MAIN, MAIN_TEMPLATE, MAINS, MAX_FILE_BYTES, TEMPLATE_SUFFIX, Author, Written
from odin.jobs.writer import Edit, Writer
from odin.model import names
from odin.model.errors import Conflict, InvalidInput, TooLarge
from odin.model.ids import JobPath, Sha

SKELETON = b"# A job without tasks yet; job files are described in Odin's documentation.\ntasks: []\n"


class Repository(Reader):
    """Jobs at a commit, and commits that change them.

    Where ``at`` is None the branch's tip is meant. A job may be named ``a/b`` or ``a__b``. Every method may raise
    Unavailable (locked, damaged, remote away) and InvalidInput (a name that is not allowed, no full commit id).
    """

    def __init__(self, folder: Path, *, branch: str, remote: Remote | None, owner: int) -> None:
        super().__init__(folder, Branch(folder, branch))
        self.owner = owner  # a descriptor that the git programs started here inherit; see home
        self.remote = remote
        self._packing = Packing(folder, owner)
        self._writer = Writer(
            folder, self.branch, remote, surveyor=self._surveyor, mains=self._mains, after=self._packing.look
        )
        self._close = weakref.finalize(self, _let_go, self._packing, owner)

    @classmethod
    def open(cls, folder: Path, *, remote: str | None = None, branch: str = "main") -> Repository:
        """The repository in ``folder``, made on first start, leftovers of dead writers removed.

        ``remote`` is a URL (ssh, https, or a path) that may hold a user and password. A remote that is away does
        not keep the repository from opening.
        """
        folder = folder.absolute()
        upstream = Remote(folder, remote, Branch(folder, branch)) if remote else None
        opened = cls(folder, branch=branch, remote=upstream, owner=home.prepare(folder, branch))
        if upstream is not None:
            upstream.owner = opened.owner
            upstream.refresh(timeout_s=5.0)
        return opened

    def close(self) -> None:
        """Give up the claim on the folder; may be repeated. Nothing else needs it."""
        self._close()

    def create(self, job: str, author: Author) -> Written:
        """A new job: a main.yml with no tasks. Raises Conflict if it exists."""
        path = names.job_path(job)

        def plan(git: Git, tip: Sha) -> Edit:
            if self._is_job(git, tip, path):
                raise Conflict(f"the job {path} exists already")
            return Edit({f"{path}/{MAIN}": self._blob(SKELETON)}, f"Create {path}")

        version = self._writer.write(plan, author)
        return Written(version, (f"{path}/{MAIN}",), (len(SKELETON),))

    def write(
        self,
        job: str,
        files: Mapping[str, bytes | None],
        author: Author,
        *,
        create: bool = False,
        draft: bool = False,
        if_match: Sha | None = None,
        message: str | None = None,
    ) -> Written:
        """Put files into a job (None deletes one) by one commit, all or nothing.

        ``create`` makes the job where it is missing, with a main.yml if none is given. ``draft`` leaves the
        check of the job out, never that of the tree. ``if_match`` is a commit since which the job must not have
        changed, else Conflict. Raises NotFound, InvalidInput, TooLarge, ValidationFailed, NoSpace. A new file
        that begins with ``#!`` becomes executable; others keep what they are.
        """
        path = names.job_path(job)
        contents = _checked(path, files)
        if not draft:
            self._precheck(path, files)
        blobs = {name: content if content is None else self._blob(content) for name, content in contents.items()}

        def plan(git: Git, tip: Sha) -> Edit:
            self._unchanged(git, tip, path, if_match)
            placed = dict(blobs)
            if not self._is_job(git, tip, path):
                if not create:
                    self._job(git, tip, path)
                if f"{path}/{MAIN_TEMPLATE}" not in placed:
                    placed.setdefault(f"{path}/{MAIN}", self._blob(SKELETON))
            self._deletions_exist(git, tip, path, files)
            return Edit(placed, message or _summary(path, files))

        version = self._writer.write(plan, author, draft=draft)
        return Written(version, tuple(contents), tuple(len(content or b"") for content in contents.values()))

    def save(
        self,
        job: str,
        tasks: Sequence[Mapping[str, Any]] | None,
        configs: Sequence[Mapping[str, Any]],
        author: Author,
        *,
        if_match: Sha | None = None,
    ) -> Written:
        """Set a job's tasks (in camelCase, None leaves them) and text files beside its main.yml.

        Only tasks that differ change in the file; comments, anchors and other keys stay, and so do files that
        are not named. Raises as ``write`` does.
        """
        path = names.job_path(job)
        others = _checked(path, _configs(configs))
        blobs = {name: self._blob(content) for name, content in others.items() if content is not None}
        main = f"{path}/{MAIN}"
        sizes: dict[str, int] = {}

        def plan(git: Git, tip: Sha) -> Edit:
            self._unchanged(git, tip, path, if_match)
            folder = self._job(git, tip, path)
            if find(git, folder.oid, MAIN) is None:
                if tasks:
                    raise Conflict(f"the tasks of {path} come from a template; push its {MAIN_TEMPLATE} instead")
                return Edit(dict(blobs), f"Save {path}")
            old = content_of(git, file_in(git, folder, path, MAIN), main)
            new = old if tasks is None else roundtrip.with_tasks(old, tasks, file=main)
            sizes[main] = len(new)
            return Edit({**blobs, main: self._blob(new)}, f"Save {path}")

        version = self._writer.write(plan, author)
        sizes |= {name: len(content or b"") for name, content in others.items()}
        return Written(version, tuple(sizes), tuple(sizes.values()))

    def delete(self, job: str, author: Author) -> Written:
        """Remove a job with all its files. Raises Conflict while other jobs lie in its folder."""
        path = names.job_path(job)
        gone: dict[str, Blob | None] = {}

        def plan(git: Git, tip: Sha) -> Edit:
            folder = self._job(git, tip, path)
            nested = [each for each in self._jobs(git, tip) if each.startswith(f"{path}/")]
            if nested:
                raise Conflict(f"the folder of {path} holds other jobs; delete them first: {', '.join(nested)}")
            gone.clear()
            gone.update({f"{path}/{name}": None for name, _ in walk(git, folder.oid)})
            return Edit(gone, f"Delete {path}")

        version = self._writer.write(plan, author)
        return Written(version, tuple(gone), (0,) * len(gone))

    def generate(self, template: str, job: str, context: Mapping[str, Any], author: Author) -> Written:
        """A new job from another one: its files, those ending in ``.jinja2`` filled in, by one commit.

        Jobs that are nested in the template are left out. Raises Conflict if the new job's folder exists, NotFound,
        and ValidationFailed for the templates and for the job that they make.
        """
        source, path = names.job_path(template), names.job_path(job)
        with translated(self.path):
            git = self._git()
            at = self.branch.tip(git)
            folder = self._job(git, at, source)
            made = self._templates.render(git, source, folder.oid, context).files
            placed, sizes = self._generated(git, folder, path, made)

        def plan(git: Git, tip: Sha) -> Edit:
            if find(git, tree_of(git, tip), path) is not None:
                raise Conflict(f"{path} exists already; choose another name")
            return Edit(dict(placed), f"Generate {path} from {source}")

        return Written(self._writer.write(plan, author), tuple(placed), sizes)

    def _generated(
        self, git: Git, folder: Entry, path: JobPath, made: Mapping[str, str]
    ) -> tuple[dict[str, Blob], tuple[int, ...]]:
        nested = tuple(f"{job}/" for job in self._surveyor.survey(git, folder.oid).jobs if job)
        placed: dict[str, Blob] = {}
        sizes = []
        for name, entry in walk(git, folder.oid):
            if name.startswith(nested):
                continue
            final = name.removesuffix(TEMPLATE_SUFFIX)
            content = made[final].encode() if final != name else blob(git, entry.oid)
            oid = store(git, content) if final != name else entry.oid
            placed[f"{path}/{final}"] = Blob(oid, executable=entry.mode == EXECUTABLE)
            sizes.append(len(content))
        return placed, tuple(sizes)

    def refresh(self, timeout_s: float = 5.0) -> str | None:
        """Fetch from the remote, if there is one; a sentence for people when that did not work."""
        if self.remote is None:
            return None
        warning = self.remote.refresh(timeout_s)
        self._packing.look()
        return warning

    def pin(self, version: Sha) -> None:
        """Keep a commit whatever becomes of the branch; may be repeated. Raises NotFound."""
        with translated(self.path):
            # A look at the file costs 5 µs, opening the repository 70; every launch asks.
            if not (self.path / refs.PINS / sha_of(version)).exists():
                refs.pin(self._git(), sha_of(version))

    def pins(self) -> list[Sha]:
        """The commits that are kept."""
        with translated(self.path):
            return refs.pins(self._git())

    def unpin(self, version: Sha) -> None:
        """Undo ``pin``; may be repeated."""
        with translated(self.path):
            refs.unpin(self._git(), sha_of(version))

    def _blob(self, content: bytes) -> Blob:
        with translated(self.path):
            oid = store(self._git(), content)
        return Blob(oid, executable=content.startswith(b"#!"))

    def _precheck(self, path: JobPath, files: Mapping[str, bytes | None]) -> None:
        """Refuse a broken main.yml or template before anything is stored, and before others have to wait."""
        for name, content in files.items():
            folder, _, last = f"{path}/{name}".rpartition("/")
            if last == MAIN and content is not None:
                self._mains.parse(folder, content)
        self._templates.check(path, {name: content for name, content in files.items() if content is not None})

    def _unchanged(self, git: Git, tip: Sha, path: JobPath, since: Sha | None) -> None:
        if since is None or since == tip:
            return
        then, now = (find(git, tree_of(git, version), path) for version in (since, tip))
        if (then and then.oid) != (now and now.oid):
            raise Conflict(f"the job {path} has changed since {since}; it is at {tip} now")

    def _deletions_exist(self, git: Git, tip: Sha, path: JobPath, files: Mapping[str, bytes | None]) -> None:
        gone = [name for name, content in files.items() if content is None]
        job = self._job(git, tip, path) if gone else None
        if job is not None and not any(_stays(git, job, files, name) for name in MAINS):
            raise Conflict(f"a job is nothing without its {MAIN}; delete the job {path} instead")
        for name in gone:
            file_in(git, self._job(git, tip, path), path, name)


def _let_go(packing: Packing, owner: int) -> None:
    packing.close()
    os.close(owner)


def _stays(git: Git, job: Entry, files: Mapping[str, bytes | None], name: str) -> bool:
    """Whether a job has a file after a write."""
    return files[name] is not None if name in files else find(git, job.oid, name) is not None


def _checked(path: JobPath, files: Mapping[str, bytes | None]) -> dict[str, bytes | None]:
    """The files by their path in the repository. Raises InvalidInput and TooLarge."""
    for name, content in files.items():
        names.file_path(name)
        if content is not None and len(content) > MAX_FILE_BYTES:
            raise TooLarge(f"{path}/{name} has {len(content)} bytes; at most {MAX_FILE_BYTES} are allowed")
    return {f"{path}/{name}": content for name, content in files.items()}


def _configs(configs: Sequence[Mapping[str, Any]]) -> dict[str, bytes | None]:
    files: dict[str, bytes | None] = {}
    for config in configs:
        name, content = config.get("name"), config.get("content")
        if not isinstance(name, str) or not isinstance(content, str) or "/" in name or name == MAIN:
            raise InvalidInput(f'a config has a "name" (of a file beside {MAIN}) and a "content", both texts')
        files[name] = content.encode()
    return files


def _summary(path: JobPath, files: Mapping[str, bytes | None]) -> str:
    verb = "Delete" if files and all(content is None for content in files.values()) else "Write"
    listed = ", ".join(sorted(files))
    what = f"{path}/{listed}" if len(files) == 1 else f"{path}: {listed}"
    return f"{verb} {what}" if len(what) <= 72 else f"{verb} {len(files)} files of {path}"[:200]
