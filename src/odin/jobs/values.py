"""What the jobs room hands out and takes: authors, entries of a job's folder, the answer to a write, its limits."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from odin.model.ids import JobPath, Sha
from odin.model.job import Job

MIB = 1024 * 1024
MAX_FILE_BYTES = 10 * MIB
MAX_ENTRIES = 100_000
MAX_PATH_BYTES = 1024
MAX_DEPTH = 32
MAX_PUSH_BYTES = 256 * MIB
MAIN = "main.yml"
TEMPLATE_SUFFIX = ".jinja2"
MAIN_TEMPLATE = MAIN + TEMPLATE_SUFFIX
MAINS = (MAIN, MAIN_TEMPLATE)  # a folder with either is a job


@dataclass(frozen=True, slots=True)
class Author:
    """Whom a commit belongs to. ``name`` may be empty, then the user name stands for it."""

    username: str
    name: str = ""

    def line(self) -> tuple[str, str]:
        """Name and address as git keeps them: no character is left that could end the line or open another."""
        username = _plain(self.username) or "unknown"
        return _plain(self.name) or username, f"{username.replace(' ', '-')}@odin"


ODIN = Author("odin", "Odin")


def folded(path: str) -> str:
    """A name as a file system takes it that does not tell upper from lower case: what is equal there, clashes there."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _plain(text: str) -> str:
    kept = (c for c in text if c not in "<>" and not unicodedata.category(c).startswith("C"))
    return "".join(kept).strip(" .,:;\"'\\")[:200]


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of a job; ``path`` is relative to the job's folder, ``size`` in bytes."""

    path: str
    size: int
    executable: bool


@dataclass(frozen=True, slots=True)
class JobFolder:
    """A job as it stands at ``version``. ``created_at`` is POSIX seconds; ``files`` are sorted by path."""

    path: JobPath
    created_at: float
    version: Sha
    files: tuple[FileEntry, ...]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A job as it is launched: checked, and its templates filled in.

    ``files`` are the rendered ones, by their path in the job without ``.jinja2``; ``used`` the names of a context
    that the templates refer to.
    """

    job: Job
    files: Mapping[str, str] = field(default_factory=dict)
    used: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Written:
    """What a write left: the commit that holds it, and each file's path in the repository with its size.

    A deleted file has size 0. Where the same bytes stood already, ``version`` is the commit that was there.
    """

    version: Sha
    paths: tuple[str, ...]
    sizes: tuple[int, ...]
