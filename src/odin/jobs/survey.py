"""What lies below a tree: how many entries, how deep, which folders are jobs, where templates are.

Remembered by the tree's id, which stands for its content: what was found once holds for ever, and after a commit only
the folders on the changed path are read again.
"""

from __future__ import annotations

from dataclasses import dataclass

from odin.jobs.objects import Git, entries
from odin.jobs.values import MAINS, MAX_DEPTH, MAX_ENTRIES
from odin.model.errors import TooLarge

REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class Survey:
    """``entries`` counts files and folders at every level; ``jobs`` are folders with a main.yml, "" for this one.

    ``templates`` are paths and ids of files ending in ``.jinja2``, those of jobs below this folder left out.
    """

    entries: int
    jobs: tuple[str, ...]
    templates: tuple[tuple[str, str], ...]


class Surveyor:
    """Surveys trees, each once. Safe to share between threads: a lost entry is only found again."""

    def __init__(self) -> None:
        self._known: dict[str, Survey] = {}

    def survey(self, git: Git, tree: str) -> Survey:
        """Raises TooLarge where the tree has more entries than allowed or is too deep."""
        found = self._survey(git, tree, 0)
        if found.entries > MAX_ENTRIES:
            raise TooLarge(f"the repository would have {found.entries} files and folders; at most {MAX_ENTRIES}")
        return found

    def _survey(self, git: Git, tree: str, depth: int) -> Survey:
        if depth > MAX_DEPTH:
            raise TooLarge(f"folders are nested more than {MAX_DEPTH} deep")
        known = self._known.get(tree)
        if known is None:
            known = self._look(git, tree, depth)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[tree] = known
        return known

    def _look(self, git: Git, tree: str, depth: int) -> Survey:
        here = entries(git, tree)
        count = len(here)
        jobs = [""] if any(each.is_file and each.text in MAINS for each in here) else []
        templates = [(each.text, each.oid) for each in here if each.is_template]
        for entry in here:
            if not entry.is_folder:
                continue
            inner = self._survey(git, entry.oid, depth + 1)
            count += inner.entries
            if count > MAX_ENTRIES:
                continue  # only the count matters then: shared subtrees can stand for billions of jobs
            jobs += [f"{entry.text}/{job}".rstrip("/") for job in inner.jobs]
            if "" not in inner.jobs:
                templates += [(f"{entry.text}/{path}", oid) for path, oid in inner.templates]
        return Survey(count, tuple(jobs), tuple(templates))
