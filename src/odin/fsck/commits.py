"""The jobs repository and the checkouts of its commits, held against the rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

from odin.engine import trash
from odin.fsck.scene import Difference, Differences, Scene, changed_at
from odin.jobs.refs import PINS
from odin.model.ids import Sha


def repository(scene: Scene) -> Differences:
    """``repository-damaged``, ``commit-missing`` and ``pin-missing``."""
    place = str(scene.inspection.folder)
    if not scene.inspection.is_there():
        yield Difference("repository-missing", place, "there is no jobs repository", "restore a backup")
        return
    for line in scene.inspection.damage():
        yield Difference("repository-damaged", f"{place}: {line}", "git fsck says so", "restore a backup")
    used, pins = _used(scene), set(scene.inspection.pins())
    missing = set(scene.inspection.missing(used))
    for version in sorted(used):
        if version in missing:
            where = f"{place} {version}"
            yield Difference("commit-missing", where, f"{_named(scene, version)} ran at it", "restore a backup")
        elif version not in pins:
            yield Difference(
                "pin-missing",
                f"{place} {PINS}{version}",
                f"nothing but the branch keeps the commit of {_named(scene, version)}",
                "make the ref again",
                partial(_pin, scene, version),
            )


def checkouts(scene: Scene) -> Differences:
    """``checkout-missing``, ``checkout-changed`` and ``checkout-unused``."""
    if not scene.inspection.is_there():
        return
    made, used = set(scene.inspection.checkouts()), _used(scene)
    for version in sorted(_stood_on(scene)):
        if version not in made:
            yield _to_make(scene, version, "checkout-missing", f"{_named(scene, version)} stands on it")
    for version in sorted(made & used):
        if scene.inspection.is_changed(version):
            yield _to_make(scene, version, "checkout-changed", "its files are not those of the commit")
    for version in sorted(made.union(scene.inspection.pins()) - used):
        yield Difference(
            "checkout-unused",
            str(scene.layout.checkouts / version),
            "no pipeline ran at this commit",
            f"leave it while {scene.strays}" if scene.strays else "remove it, and the ref that keeps the commit",
            None if scene.strays else partial(scene.tools.collect, version),
            max(changed_at(path) for path in (scene.layout.checkouts / version, _ref(scene, version))),
        )


def strangers(scene: Scene) -> Differences:
    """``checkout-unknown``: what lies among the checkouts and is none."""
    aside = trash.aside_of(scene.layout.checkouts)
    for path in scene.inspection.strangers():
        yield Difference(
            "checkout-unknown",
            str(path),
            "it is no checkout",
            f"move it to {aside}",
            partial(trash.set_aside, path.parent, path.name, aside),
            changed_at(path),
        )


def _to_make(scene: Scene, version: Sha, kind: str, what: str) -> Difference:
    place = scene.layout.checkouts / version
    return Difference(kind, str(place), what, "make it again", lambda: scene.tools.checkouts.ensure(version))


def _pin(scene: Scene, version: Sha) -> None:
    scene.tools.repository.pin(version)


def _ref(scene: Scene, version: Sha) -> Path:
    return scene.inspection.folder / PINS / version


def _used(scene: Scene) -> set[Sha]:
    return {known.version for known in scene.census.pipelines.values()}


def _stood_on(scene: Scene) -> set[Sha]:
    return {known.version for known in scene.census.pipelines.values() if known.stands}


def _named(scene: Scene, version: Sha) -> str:
    return _listed([name for name, known in scene.census.pipelines.items() if known.version == version])


def _listed(names: Collection[str]) -> str:
    shown: Iterator[str] = iter(names)
    first = next(shown)
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"
