"""What runs, or stands in the cluster, held against the rows. What runs on this machine is never touched."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from odin.fsck.scene import Difference, Differences, Scene

if TYPE_CHECKING:
    from odin.executors.kubernetes.census import Standing


def processes(scene: Scene) -> Differences:
    """``process-unknown``."""
    for process in scene.processes:
        tried = scene.census.attempts.get(process.attempt)
        if tried is not None and not tried.is_over:
            continue
        what = "its row says that it is over" if tried is not None else "no row knows this attempt"
        yield Difference(
            "process-unknown",
            f"process {process.pid}",
            f"it runs {process.attempt}, and {what}",
            f"leave it; to stop it: kill -TERM -- -{process.pid}",
        )


def objects(scene: Scene) -> Differences:
    """``object-unknown`` and ``finalizer-left``."""
    for one in scene.objects:
        place = f"{one.kind} {one.name}"
        if not _is_known(scene, one):
            what = f"no row knows {one.attempt or one.pipeline}"
            remedy = "remove it, also if it runs"
            mend = partial(_take_away, scene, one)
            yield Difference("object-unknown", place, what, remedy, mend, one.changed_at)
        elif one.held and _is_owed_nothing(scene, one):
            what = "its end is recorded and its log kept, and Odin's finalizer is still on it"
            yield Difference(
                "finalizer-left", place, what, "take it off", partial(_release, scene, one), one.changed_at
            )


def _is_known(scene: Scene, one: Standing) -> bool:
    return one.pipeline in scene.census.pipelines and (one.attempt is None or one.attempt in scene.census.attempts)


def _is_owed_nothing(scene: Scene, one: Standing) -> bool:
    """Else a server that is started keeps its log, and lets it go then."""
    tried = scene.census.attempts.get(one.attempt) if one.attempt else None
    if tried is None or not tried.is_over:
        return False
    log = scene.logs / one.pipeline / f"{one.attempt}.log"
    return one.is_kept or (one.is_going and log.is_file())


def _take_away(scene: Scene, one: Standing) -> None:
    assert scene.tools.cluster is not None
    scene.tools.cluster.take_away(one)


def _release(scene: Scene, one: Standing) -> None:
    assert scene.tools.cluster is not None
    scene.tools.cluster.release(one)
