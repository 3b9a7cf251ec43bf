"""What was being written or removed when something died."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from odin.engine import trash
from odin.fsck.scene import Difference, Differences, Scene, changed_at
from odin.jobs.folders import FOLDER, remove

# Below the data folder: drafts that are renamed once they are whole.
DRAFTS = ("restore-*", "*.restoring", "restoring.new", "runner/journal.new", "secrets/*.????????????????")


def drafts(scene: Scene) -> Differences:
    """``draft-left``."""
    for path in _drafts(scene):
        what = "it was being written or removed when its writer died"
        yield Difference("draft-left", str(path), what, "remove it", partial(_remove, path), changed_at(path))


def trashes(scene: Scene) -> Differences:
    """``trash-left``: a cleanup renamed it, and could not unlink it yet."""
    for place in (scene.layout.trash, trash.trash_of(scene.logs)):
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            yield Difference(
                "trash-left", str(path), "a cleanup left it", "remove it", partial(_purge, path), changed_at(path)
            )


def _drafts(scene: Scene) -> Iterator[Path]:
    for pattern in DRAFTS:
        yield from sorted(scene.data.glob(pattern))
    yield from scene.inspection.half_made()
    yield from scene.inspection.leftovers()


def _remove(path: Path) -> None:
    """By descriptor, through no link, on one file system."""
    parent = os.open(path.parent, FOLDER)
    try:
        remove(path.name, parent)
    finally:
        os.close(parent)


def _purge(path: Path) -> None:
    trash.empty(path.parent)
    if path.is_symlink() or path.exists():
        raise OSError(f"{path} could not be removed")
