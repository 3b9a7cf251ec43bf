"""The database held against itself."""

from __future__ import annotations

from functools import partial

from odin.fsck.scene import Difference, Differences, Scene
from odin.store.census import remove_adrift


def adrift(scene: Scene) -> Differences:
    """``rows-adrift``: parts of pipelines that are not there."""
    for (table, pipeline), count in scene.census.adrift.items():
        yield Difference(
            "rows-adrift",
            f"{table} of {pipeline}",
            f"{count} rows of a pipeline that has none of its own",
            "delete them",
            partial(remove_adrift, scene.tools.database, table, pipeline),
        )


def histories(scene: Scene) -> Differences:
    """``history-gap``: numbers of events run from 1 without a gap."""
    for pipeline, (should, there) in scene.census.gaps.items():
        yield Difference(
            "history-gap",
            f"events of {pipeline}",
            f"{there} of {should} events are there",
            "restore a backup if you need them",
        )


def unfinished(scene: Scene) -> Differences:
    """``cleanup-unfinished``: it was begun, and whoever did it died. A server that runs may be at it."""
    for pipeline, known in scene.census.pipelines.items():
        if known.deleting and not scene.beside:
            yield Difference(
                "cleanup-unfinished",
                pipeline,
                "its cleanup was begun",
                "finish it, as the next start of the server does",
                partial(scene.tools.finish_cleanup, pipeline),
            )
