"""The templates of a job: files ending in ``.jinja2``, which ending they lose. Source: job-files.md, "Templates".

A template belongs to the nearest job around it, like every file.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from threading import Lock
from typing import Any

from odin.jobs.objects import Git, blob, blob_sha, blob_size, walk
from odin.jobs.rendering import Renderer, Rendering
from odin.jobs.survey import Surveyor
from odin.jobs.values import MAINS, MIB, TEMPLATE_SUFFIX, folded
from odin.model import names
from odin.model.errors import InvalidInput, Problem, ValidationFailed

MAX_BYTES = MIB
MAX_TEMPLATES = 1000
REMEMBERED = 4096


class Templates:
    """Checks and renders the templates of job folders, given by the ids of their trees. Safe to share."""

    def __init__(self, surveyor: Surveyor, renderer: Renderer | None = None) -> None:
        self._surveyor = surveyor
        self._renderer = renderer or Renderer()
        self._lock = Lock()
        self._good: OrderedDict[str, None] = OrderedDict()  # ids of blobs that are templates without errors

    def of(self, git: Git, tree: str) -> Mapping[str, str]:
        """Paths in the job to ids of blobs; costs nothing for a tree that is known."""
        return dict(self._surveyor.survey(git, tree).templates)

    def problems(self, git: Git, job: str, tree: str) -> list[Problem]:
        """What can be known to be wrong without a context: names that collide, sizes, syntax."""
        found = self.of(git, tree)
        if not found:
            return []
        faults = _faults(git, job, tree, found)
        if faults:
            return faults
        with self._lock:
            unknown = {path: oid for path, oid in found.items() if oid not in self._good}
        try:
            self.check(job, {path: blob(git, oid) for path, oid in unknown.items()})
        except ValidationFailed as error:
            return list(error.problems or (Problem(error.detail),))
        return []

    def check(self, job: str, contents: Mapping[str, bytes]) -> None:
        """Raises ValidationFailed with the first error of each file among these that ends in ``.jinja2``."""
        given = {path: content for path, content in contents.items() if path.endswith(TEMPLATE_SUFFIX)}
        oids = {path: blob_sha(content) for path, content in given.items()}
        with self._lock:
            given = {path: content for path, content in given.items() if oids[path] not in self._good}
        if given:
            self._renderer.check(job, _texts(job, given))
            self._remember(oids[path] for path in given)

    def render(self, git: Git, job: str, tree: str, context: Mapping[str, Any]) -> Rendering:
        """Every template of the job filled in. Raises ValidationFailed with the first error of each."""
        found = self.of(git, tree)
        faults = _faults(git, job, tree, found)
        if faults:
            raise ValidationFailed(str(faults[0]), problems=faults)
        texts = _texts(job, {path: blob(git, oid) for path, oid in found.items()})
        return self._renderer.render(job, texts, context)

    def _remember(self, oids: Iterator[str]) -> None:
        with self._lock:
            self._good.update(dict.fromkeys(oids))
            while len(self._good) > REMEMBERED:
                self._good.popitem(last=False)


def _texts(job: str, contents: Mapping[str, bytes]) -> dict[str, str]:
    if sum(map(len, contents.values())) > MAX_BYTES:
        raise ValidationFailed(
            f"the templates of {job} have more than 1 MiB together; let the tasks make what is large"
        )
    texts, faults = {}, []
    for path, content in contents.items():
        try:
            texts[path] = content.decode()
        except UnicodeDecodeError as error:
            faults.append(Problem(f"a template is UTF-8 text, and byte {error.start} is not", file=f"{job}/{path}"))
    if faults:
        raise ValidationFailed(str(faults[0]), problems=faults)
    return texts


def _faults(git: Git, job: str, tree: str, found: Mapping[str, str]) -> list[Problem]:
    """What is wrong with names and sizes."""
    size = sum(blob_size(git, oid) for oid in found.values())
    if size > MAX_BYTES:
        return [Problem(f"the templates of {job} have {size} bytes; at most 1 MiB is allowed", file=job)]
    if len(found) > MAX_TEMPLATES:
        return [Problem(f"{job} has {len(found)} templates; at most {MAX_TEMPLATES} are allowed", file=job)]
    others = dict(_others(git, job, tree, found))
    faults = []
    for path in found:
        made = path.removesuffix(TEMPLATE_SUFFIX)
        if made.endswith("/") or not made:
            faults.append(Problem(f"nothing is left of this name without {TEMPLATE_SUFFIX}", file=f"{job}/{path}"))
            continue
        try:
            names.file_path(made)
        except InvalidInput as error:
            faults.append(Problem(error.detail, file=f"{job}/{path}"))
        own = f"and so does {path}; keep one"
        clash = others.setdefault(folded(made), own)
        if clash != own:
            faults.append(Problem(f"this becomes {made}, {clash}", file=f"{job}/{path}"))
    return faults


def _others(git: Git, job: str, tree: str, found: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The files and folders that are no templates, by their folded names, each with what is said of a clash."""
    paths = [PurePosixPath(path) for path, _ in walk(git, tree)]
    jobs = {path.parent for path in paths if path.name in MAINS}
    for path in paths:
        if str(path) not in found:
            yield folded(str(path)), f"and so does {path}; keep one"
        for folder in list(path.parents)[:-1]:
            what = "job" if folder in jobs else "folder"
            yield folded(str(folder)), f"where the {what} {job}/{folder} stands; rename one of the two"
