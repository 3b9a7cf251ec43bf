"""The file of a backup: a tar archive, compressed, its manifest first, then the parts that this lists.

The manifest is JSON: ``format``, ``odin`` (the version that made it), ``at``, ``schema`` and ``store`` of the
database, ``pipelines``, and of each part its ``bytes`` and ``sha256``. A part is the database, as one SQLite file, or
the jobs repository, as a bundle of git: what the usual tools read too.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import secrets
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from odin.model.errors import Conflict, InvalidInput, NotFound

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "odin.db"
JOBS = "jobs.bundle"
PARTS = (DATABASE, JOBS)
LARGEST_MANIFEST = 1 << 20
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself; ``at`` is the moment of its database, in UTC."""

    odin: str
    at: str
    schema: str
    store: str | None
    pipelines: int
    parts: Mapping[str, Part]


def part_of(path: Path) -> Part:
    with path.open("rb") as file:
        return Part(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def write(target: Path, manifest: Manifest, folder: Path) -> None:
    """Make the archive of the parts in ``folder``: whole, durable and readable by its owner alone, or not at all."""
    if target.exists():
        raise Conflict(f"{target} is there already; name another file")
    text = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=2).encode() + b"\n"
    new = target.with_name(f"{target.name}.{secrets.token_hex(4)}.new")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive:
                archive.addfile(_entry(MANIFEST, len(text)), io.BytesIO(text))
                for name, part in manifest.parts.items():
                    with (folder / name).open("rb") as content:
                        archive.addfile(_entry(name, part.bytes), content)
            file.flush()
            os.fsync(file.fileno())
        new.rename(target)
    finally:
        new.unlink(missing_ok=True)
    sync_folder(target.absolute().parent)


def read(source: Path, folder: Path) -> Manifest:
    """Unpack the parts into ``folder``, each as the manifest says it is, and nothing else that the archive may hold.

    Raises NotFound, and InvalidInput for what is no backup, is damaged, or is of a newer Odin's form.
    """
    try:
        with gzip.open(source) as packed, tarfile.open(fileobj=packed, mode="r:") as archive:
            manifest = _manifest(_content(archive, MANIFEST).read(LARGEST_MANIFEST))
            for name in PARTS:
                _unpack(_content(archive, name), folder / name, manifest.parts[name])
            while packed.read(CHUNK):  # its checksum stands at its end
                pass
            return manifest
    except FileNotFoundError:
        raise NotFound(f"there is no file {source}") from None
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, KeyError, ValueError, TypeError) as error:
        raise InvalidInput(f"{source} is no backup of Odin, or damaged: {error or type(error).__name__}") from error


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry


def _manifest(text: bytes) -> Manifest:
    told = json.loads(text)
    if told.pop("format") != FORMAT:
        raise InvalidInput("this backup was made by a newer Odin; restore it with that one")
    parts = {name: Part(**part) for name, part in told.pop("parts").items()}
    return Manifest(**told, parts=parts)


def _content(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    content = archive.extractfile(archive.getmember(name))
    if content is None:
        raise ValueError(f"{name} is no file")
    return content


def _unpack(content: IO[bytes], target: Path, part: Part) -> None:
    state, size = hashlib.sha256(), 0
    with target.open("xb") as file:
        while chunk := content.read(CHUNK):
            state.update(chunk)
            size += len(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if (size, state.hexdigest()) != (part.bytes, part.sha256):
        raise ValueError(f"{target.name} is not what the manifest says")


def sync_folder(folder: Path) -> None:
    """Make names in a folder survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
