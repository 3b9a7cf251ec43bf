"""Whether a tree may be the jobs repository's next state: its shape, its names, its limits, and its jobs.

Every way in leads here: a push over REST, a ``git push``, and a launch of what arrived unchecked. The check
compares with a tree that is known and looks only at what differs. Source: reliability.md, A-01 to A-04, F-63.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from odin.jobs.objects import LINK, SUBMODULE, Entry, Git, blob_size, entries
from odin.jobs.survey import Surveyor
from odin.jobs.values import MAINS, MAX_FILE_BYTES, MAX_PATH_BYTES, TEMPLATE_SUFFIX, folded
from odin.model import names
from odin.model.errors import InvalidInput, Problem, TooLarge

MAX_PROBLEMS = 100
KINDS = {LINK: "a symbolic link", SUBMODULE: "a submodule"}


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder on the walk, and the nearest job around it (its folder and the id of that folder's tree)."""

    prefix: str
    job: tuple[str, str] | None


class TreeCheck:
    """One comparison of a tree with an older one.

    Afterwards ``problems`` has what is wrong with the difference, ``too_large`` says that a limit is among it,
    and ``jobs`` maps the folder of each job that differs to the id of its tree. A file belongs to the nearest job
    around it.
    """

    def __init__(self, git: Git, surveyor: Surveyor) -> None:
        self._git = git
        self._surveyor = surveyor
        self.problems: list[Problem] = []
        self.too_large = False
        self.jobs: dict[str, str] = {}

    def compare(self, tree: str, known: str | None) -> TreeCheck:
        try:
            self._surveyor.survey(self._git, tree)
            self._folder(tree, known, _Place("", None))
        except TooLarge as error:
            self._blame(str(error), "", limit=True)
        return self

    def raise_for_push(self) -> None:
        """Raise TooLarge or InvalidInput with every problem found; do nothing where there is none."""
        if self.problems:
            kind = TooLarge if self.too_large else InvalidInput
            raise kind(str(self.problems[0]), problems=self.problems)

    def _folder(self, tree: str, known: str | None, place: _Place) -> None:
        if len(self.problems) >= MAX_PROBLEMS:
            return
        now = entries(self._git, tree)
        before = entries(self._git, known) if known else []
        place = self._job_here(now, tree, place)
        self._same_but_for_case(now, place.prefix)
        old = set(before)
        folders = {entry.name: entry.oid for entry in before if entry.is_folder}
        for entry in now:
            if entry not in old:
                self._entry(entry, folders.get(entry.name), place)
        if place.job is not None and self._concerned(now, old, folders):
            path, job = place.job
            self.jobs[path] = job

    def _concerned(self, now: Sequence[Entry], old: set[Entry], folders: Collection[bytes]) -> bool:
        """Whether what differs here matters to the job around: a file of it, or a new folder where a template's
        file would lie, even if all in that folder belongs to another job."""
        differing = old.symmetric_difference(now)
        if any(not entry.is_folder for entry in differing):
            return True
        rendered = {folded(entry.text.removesuffix(TEMPLATE_SUFFIX)) for entry in now if entry.is_template}
        return any(folded(entry.text) in rendered for entry in differing if entry.name not in folders)

    def _job_here(self, now: Iterable[Entry], tree: str, place: _Place) -> _Place:
        main = next((entry.text for entry in now if entry.text in MAINS and entry.is_file), None)
        if main is None or not place.prefix:
            return place
        path = place.prefix.rstrip("/")
        self._named(names.check_job_path, path, f"{path}/{main}")
        return _Place(place.prefix, (path, tree))

    def _entry(self, entry: Entry, known: str | None, place: _Place) -> None:
        path = place.prefix + entry.text
        if not self._may_be_called(entry, path):
            return
        if entry.is_folder:
            self._folder(entry.oid, known, _Place(f"{path}/", place.job))
        elif not entry.is_file:
            kind = KINDS.get(entry.mode, f"an entry of mode {entry.mode:06o}")
            self._blame(f"{kind} is not allowed, only files and folders are", path)
        elif (size := blob_size(self._git, entry.oid)) > MAX_FILE_BYTES:
            self._blame(f"the file has {size} bytes; at most {MAX_FILE_BYTES} are allowed", path, limit=True)

    def _may_be_called(self, entry: Entry, path: str) -> bool:
        length = len(path.encode())
        if length > MAX_PATH_BYTES:
            self._blame(f"the path has {length} bytes; at most {MAX_PATH_BYTES} are allowed", path, limit=True)
            return False
        try:
            name = entry.name.decode()
        except UnicodeDecodeError:
            self._blame("the name is not UTF-8", path)
            return False
        if "/" in name:
            self._blame('the name has a "/" in it', path)
            return False
        return self._named(names.file_path, name, path)

    def _named(self, rule: Callable[[str], object], name: str, file: str) -> bool:
        try:
            rule(name)
        except InvalidInput as error:
            self._blame(error.detail, file)
            return False
        return True

    def _same_but_for_case(self, now: Iterable[Entry], prefix: str) -> None:
        seen: dict[str, str] = {}
        for entry in now:
            name = folded(entry.text)
            if name in seen:
                first = seen[name]
                how = "stand here twice" if first == entry.text else "differ in upper and lower case alone"
                self._blame(f'"{first}" and "{entry.text}" {how}', prefix + entry.text)
            seen[name] = entry.text

    def _blame(self, message: str, path: str, *, limit: bool = False) -> None:
        self.too_large = self.too_large or limit
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(message, file=path[:MAX_PATH_BYTES]))
