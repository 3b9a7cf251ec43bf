"""Which names may enter: job paths, files of a job, users; and the nearest names to one that is unknown.

Each check returns the name as its type or raises InvalidInput with the rule and the remedy. Names are checked
after exactly one decoding, so nothing here decodes percent signs. Source: reliability.md, A-01 to A-03.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from odin.model.errors import InvalidInput
from odin.model.ids import JobPath

MAX_JOB_DEPTH: Final = 8
MAX_FILE_DEPTH: Final = 32
MAX_SEGMENT_BYTES: Final = 255
MAX_PATH_BYTES: Final = 1024

_JOB_SEGMENT: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_USER: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSEEN: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control, surrogate, line and paragraph separators
# What HFS+ leaves out when it compares names. Source: git, utf8.c, next_hfs_char.
_IGNORED_BY_HFS: Final = dict.fromkeys((*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF))
_LONGEST_COMPARED: Final = 128


def job_path(text: str) -> JobPath:
    """The job that a client names, written ``a/b`` or ``a__b``."""
    return check_job_path(decode(text))


def check_job_path(path: str) -> JobPath:
    """The path of a folder that is to hold a ``main.yml``, as it stands in git: nothing is decoded."""
    if not path:
        raise InvalidInput("the name of the job is empty; write it like nlp/sst2")
    segments = path.split("/")
    if len(segments) > MAX_JOB_DEPTH:
        raise InvalidInput(f"the job {shown(path)} has {len(segments)} folders; at most {MAX_JOB_DEPTH} are allowed")
    _check_bytes(path, segments)
    for segment in segments:
        _check_job_segment(path, segment)
    return JobPath(path)


def _check_job_segment(path: str, segment: str) -> None:
    if not _JOB_SEGMENT.fullmatch(segment):
        raise InvalidInput(
            f"{shown(segment)} in the job {shown(path)} is no folder name for a job; use letters, digits and . _ - "
            "inside, a letter or digit at both ends"
        )
    if "__" in segment:
        raise InvalidInput(f"{shown(segment)} contains __, which stands for / in URLs; use a single _")


def encode(path: JobPath) -> str:
    """The job as one word, for URLs: ``a/b`` as ``a__b``."""
    return path.replace("/", "__")


def decode(word: str) -> str:
    """What ``encode`` was given; a path with ``/`` and no ``__`` stays as it is. Not checked."""
    return word.replace("__", "/")


def file_path(path: str) -> str:
    """A file of a job, relative to the job's folder."""
    if not path:
        raise InvalidInput("the name of the file is empty")
    segments = path.split("/")
    if len(segments) > MAX_FILE_DEPTH:
        raise InvalidInput(f"the file {shown(path)} lies deeper than {MAX_FILE_DEPTH} folders")
    _check_text(path)
    _check_bytes(path, segments)
    for segment in segments:
        fault = _file_fault(segment)
        if fault:
            raise InvalidInput(f"the file name {shown(path)} {fault}")
    return path


def _check_text(path: str) -> None:
    for character in path:
        if character in _BIDI or unicodedata.category(character) in _UNSEEN:
            raise InvalidInput(f"the file name {shown(path)} contains U+{ord(character):04X}; leave it out")
    if not unicodedata.is_normalized("NFC", path):
        raise InvalidInput(f"the file name {shown(path)} is not in Unicode's form NFC; normalize it")


def _check_bytes(path: str, segments: Sequence[str]) -> None:
    if len(path.encode("utf-8", "surrogatepass")) > MAX_PATH_BYTES:
        raise InvalidInput(f"the path {shown(path)} is longer than {MAX_PATH_BYTES} bytes; shorten it")
    for segment in segments:
        if len(segment.encode("utf-8", "surrogatepass")) > MAX_SEGMENT_BYTES:
            raise InvalidInput(f"the name {shown(segment)} is longer than {MAX_SEGMENT_BYTES} bytes; shorten it")


def _file_fault(segment: str) -> str | None:
    """Why no file or folder of a job may be called so; None if it may."""
    if not segment:
        return "has an empty part; write it relative to the job, with single slashes"
    if segment in (".", ".."):
        return f"contains {segment}; a file lies inside its job"
    if "\\" in segment:
        return "contains a backslash; write / between folders"
    if is_git(segment):
        return "belongs to git itself; choose another"
    if segment.startswith("-"):
        return "has a part that begins with -, which programs take for an option; choose another"
    if segment[0] == " " or segment[-1] in " .":
        return "has a part that begins with a space or ends with a space or dot; choose another"
    return None


def is_git(segment: str) -> bool:
    """Whether some file system takes the name for ``.git``: by case, ignorable characters, 8.3 or streams."""
    seen = unicodedata.normalize("NFKC", segment.translate(_IGNORED_BY_HFS)).casefold()
    stem = seen.split(":", 1)[0].rstrip(" .")
    return stem in (".git", "git~1")


def clashes(paths: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of different files or folders that are one on a file system that ignores case, sorted."""
    first: dict[str, str] = {}
    found: set[tuple[str, str]] = set()
    for path in paths:
        segments = path.split("/")
        for depth in range(1, len(segments) + 1):
            part = "/".join(segments[:depth])
            other = first.setdefault(unicodedata.normalize("NFC", part.casefold()), part)
            if other != part:
                found.add((other, part))
    return sorted(found)


def user_name(name: str) -> str:
    if not _USER.fullmatch(name):
        raise InvalidInput(
            f"{shown(name)} is no user name; use 1 to 64 lower-case letters, digits and . _ -, a letter or digit first"
        )
    return name


def nearest(name: str, candidates: Iterable[str], limit: int = 3) -> tuple[str, ...]:
    """The candidates that ``name`` may be a mistyping of, best first."""
    if len(name) > _LONGEST_COMPARED:
        return ()
    folded: dict[str, str] = {}
    for candidate in candidates:
        folded.setdefault(_fold(candidate), candidate)
    found = difflib.get_close_matches(_fold(name), folded, n=limit, cutoff=0.65)
    return tuple(folded[key] for key in found)


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")


def one_off(name: str, known: str) -> bool:
    """Whether one letter too many, missing, wrong, or swapped with its neighbour makes ``known`` of ``name``."""
    if name == known or abs(len(name) - len(known)) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(name, known, strict=False)) if a != b), min(len(name), len(known)))
    a, b = name[start:], known[start:]
    swapped = len(a) > 1 and len(b) > 1 and a[:2] == b[1::-1] and a[2:] == b[2:]
    return swapped or a[1:] == b[1:] or a[1:] == b or a == b[1:]


def shown(name: str) -> str:
    """The name for people: quoted, at most 80 characters, nothing that moves the cursor or turns the text."""
    cut = name if len(name) <= 80 else name[:79] + "…"
    return '"' + "".join(_visible(character) for character in cut) + '"'


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    hidden = category in _UNSEEN or category in ("Cf", "Cn", "Co")
    return f"\\u{{{ord(character):x}}}" if hidden else character
