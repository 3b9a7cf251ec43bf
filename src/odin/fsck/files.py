"""Folders of pipelines and their logs, held against the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from odin.engine import trash
from odin.fsck.scene import Difference, Differences, Scene, changed_at
from odin.model.ids import AttemptId, PipelineId, split_resource
from odin.store.census import Known, Tried, note_log


def runs(scene: Scene) -> Differences:
    """``run-missing`` and ``run-unknown``. A folder of a pipeline that is over may have been cleaned up."""
    for identity, known in scene.census.pipelines.items():
        if known.stands and not _is_whole(scene, identity):
            yield Difference(
                "run-missing",
                str(scene.layout.run(identity)),
                f"{identity} runs, and its folder is not what a task of it needs",
                "make it again; what tasks wrote in it before is gone",
                partial(_build, scene, identity),
            )
    for path in _entries(scene.layout.runs):
        if path.name not in scene.census.pipelines or not _is_folder(path):
            yield _stranger(scene, path, "run-unknown")


def log_folders(scene: Scene) -> Differences:
    """``log-unknown``: a folder, or a file, of no pipeline or attempt that has a row."""
    for path in _entries(scene.logs):
        known = scene.census.pipelines.get(PipelineId(path.name))
        if known is None or not _is_folder(path):
            yield _stranger(scene, path, "log-unknown")
            continue
        for file in _entries(path):
            if not _is_known(scene, known, file.name):
                yield _unknown_log(known, file)


def logs(scene: Scene) -> Differences:
    """``log-missing`` and ``log-short``, of attempts that are over."""
    for identity, tried in scene.census.attempts.items():
        known = scene.census.pipelines[tried.pipeline]
        being_made = not (known.stands or known.is_over)  # what it keeps of another is brought while it is built
        if not tried.is_over or not tried.log_bytes or known.deleting or being_made:
            continue
        path = scene.logs / tried.pipeline / f"{identity}.log"
        size = _size(path)
        if size is None or size < tried.log_bytes:
            yield _lost_log(scene, path, tried, size)


def _lost_log(scene: Scene, path: Path, tried: Tried, size: int | None) -> Difference:
    return Difference(
        "log-missing" if size is None else "log-short",
        str(path),
        f"the attempt wrote {tried.log_bytes} bytes, {size or 0} are there",
        "say so in its row; what was written cannot be had back",
        partial(note_log, scene.tools.database, tried, size),
    )


def _unknown_log(known: Known, file: Path) -> Difference:
    attempt = file.name.partition(".")[0]
    what = f"no row knows the attempt {attempt}"
    if not known.is_over:
        return Difference(
            "log-unknown", str(file), what, "leave it: it shows that the attempt may have run", None, changed_at(file)
        )
    aside = trash.aside_of(file.parent.parent)
    return Difference(
        "log-unknown",
        str(file),
        what,
        f"move it to {aside}",
        partial(trash.set_aside, file.parent, file.name, aside),
        changed_at(file),
    )


def _is_known(scene: Scene, known: Known, name: str) -> bool:
    """Logs are called after their attempt, of a resumed pipeline also those that it kept of another."""
    attempt = AttemptId(name.partition(".")[0])
    return attempt in scene.census.attempts or known.tasks.get(split_resource(attempt)[1] or "", False)


def _stranger(scene: Scene, path: Path, kind: str) -> Difference:
    """Removed where its pipeline was cleaned up; else nobody knows what it is worth, and it is moved aside."""
    mend: Callable[[], object] | None
    if lives := scene.lives(path.name):
        remedy, mend = f"leave it while {lives}", None
    elif path.name in scene.census.buried and _is_folder(path):
        remedy, mend = "remove it, as the cleanup of its pipeline should have", partial(_remove, path)
    else:
        aside = trash.aside_of(path.parent)
        remedy, mend = f"move it to {aside}", partial(trash.set_aside, path.parent, path.name, aside)
    if path.name in scene.census.pipelines:
        what = "it is no folder"
    elif path.name in scene.census.buried:
        what = f"the pipeline {path.name} was cleaned up"
    else:
        what = f"no row knows a pipeline {path.name}"
    return Difference(kind, str(path), what, remedy, mend, changed_at(path))


def _build(scene: Scene, identity: PipelineId) -> None:
    run = scene.layout.run(identity)
    if run.is_symlink() or (run.exists() and not run.is_dir()):
        trash.set_aside(run.parent, run.name, trash.aside_of(run.parent))
    scene.tools.build(identity)


def _remove(path: Path) -> None:
    trash.discard(path.parent, path.name)
    trash.empty(trash.trash_of(path.parent))


def _is_whole(scene: Scene, identity: PipelineId) -> bool:
    return _is_folder(scene.layout.run(identity)) and scene.layout.task_ids(identity).is_file()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _entries(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(folder.iterdir())


def _size(path: Path) -> int | None:
    try:
        return path.lstat().st_size if path.is_file() and not path.is_symlink() else None
    except OSError:
        return None
