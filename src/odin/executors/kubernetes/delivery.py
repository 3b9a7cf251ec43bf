"""The files of a job as ConfigMaps, and the volume that puts them into a pod: how a pod gets them without a claim.

The same files always make the same objects, so that what was created half can be created again.
Source: kubernetes.md, "Files, values and tokens in pods";
https://kubernetes.io/docs/concepts/configuration/configmap/ (1 MiB each, names of keys).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from odin.executors.kubernetes.kind import Api, Object
from odin.executors.kubernetes.paths import REMEDY, TASK_IDS
from odin.executors.kubernetes.site import DELIVERED_BYTES
from odin.model.errors import TooLarge
from odin.model.ids import PipelineId

CONFIG_MAP: Final = Api("", "v1", "ConfigMap", "configmaps")
FILES: Final = "files"  # the volume
MOST_FILES: Final = 1_000  # each takes about 100 bytes in every pod
MOST_IDS_BYTES: Final = 1_000_000  # what one ConfigMap holds, and about 20,000 tasks
PART_BYTES: Final = 500_000  # of one ConfigMap; room for what its encoding adds
_KEY: Final = re.compile(r"[^A-Za-z0-9._-]")
_UNPRINTED: Final = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")  # grow sixfold in JSON

Files = Mapping[str, tuple[bytes, bool]]  # path below the root to content and whether it is executable


def own_name(pipeline: str, what: str) -> str:
    """The name of an object that Odin keeps for a pipeline; no task may name it."""
    return f"odin-{pipeline}--{what}"


def check(sizes: Mapping[str, int], limit: int = DELIVERED_BYTES) -> None:
    """Raises TooLarge where files of these sizes are too many or too large to be delivered."""
    total = sum(sizes.values())
    if total > limit:
        largest = sorted(sizes, key=lambda path: (-sizes[path], path))[:3]
        named = ", ".join(f"{path} ({sizes[path]})" for path in largest)
        raise TooLarge(
            f"the job's folder and the files at the repository's root have {total} bytes, and pods are given up to "
            f"{limit} without a data claim; the largest: {named}; make them smaller, or {REMEDY}"
        )
    if len(sizes) > MOST_FILES:
        raise TooLarge(
            f"the job's folder and the repository's root have {len(sizes)} files, and pods are given up to "
            f"{MOST_FILES} without a data claim; remove some, or {REMEDY}"
        )


def check_ids(ids: Iterable[str], pipeline: str = "") -> None:
    """Raises TooLarge where the file of these task ids, each after ``pipeline``, cannot be delivered."""
    size = sum(len(pipeline) + len(each) + 1 for each in ids)
    if size > MOST_IDS_BYTES:
        raise TooLarge(f"the ids of all tasks have {size} bytes, and pods are given up to {MOST_IDS_BYTES}; {REMEDY}")


def config_maps(
    pipeline: PipelineId,
    files: Files,
    labels: Mapping[str, str],
    *,
    task_ids: str = "",
    limit: int = DELIVERED_BYTES,
) -> tuple[list[Object], Object]:
    """The objects to create, and what to mount at the root. Raises TooLarge.

    ``task_ids`` is the text of the file of task ids, which does not count.
    """
    check({path: len(content) for path, (content, _) in files.items()}, limit)
    check_ids(task_ids.splitlines())
    ids = task_ids.encode()
    whole = {**files, **({TASK_IDS: (ids, False)} if ids else {})}
    parts = [list(part) for _, part in groupby(_numbered(whole), key=lambda entry: entry[0])]
    objects = []
    sources = []
    for number, part in enumerate(parts):
        name = own_name(pipeline, FILES) + (f"-{number}" if number else "")
        keys = [(_key(idx, path), path) for idx, (_, path) in enumerate(part)]
        objects.append(_object(name, {key: whole[path][0] for key, path in keys}, labels))
        items = [{"key": key, "path": path, **_mode(whole[path][1])} for key, path in keys]
        sources.append({"configMap": {"name": name, "items": items}})
    return objects, {"projected": {"defaultMode": 0o444, "sources": sources}}


def _numbered(files: Files) -> Iterator[tuple[int, str]]:
    """Every path in order with the number of its ConfigMap."""
    number = held = 0
    for path in sorted(files):
        size = len(files[path][0])
        if held and held + size > PART_BYTES:
            number, held = number + 1, 0
        held += size
        yield number, path


def _key(idx: int, path: str) -> str:
    """A key that says which file it is; the number keeps it distinct."""
    return f"{idx}.{_KEY.sub('_', path)[-200:]}"


def _mode(executable: bool) -> dict[str, int]:
    return {"mode": 0o555} if executable else {}


def _object(name: str, contents: Mapping[str, bytes], labels: Mapping[str, str]) -> Object:
    texts = {key: text for key, content in contents.items() if (text := _text(content)) is not None}
    others = {key: b64encode(content).decode() for key, content in contents.items() if key not in texts}
    made: dict[str, Any] = {
        "apiVersion": CONFIG_MAP.api_version,
        "kind": CONFIG_MAP.kind,
        "metadata": {"name": name, "labels": dict(labels)},
        "immutable": True,
    }
    return made | ({"data": texts} if texts else {}) | ({"binaryData": others} if others else {})


def _text(content: bytes) -> str | None:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return None if _UNPRINTED.search(text) else text
