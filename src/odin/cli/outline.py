"""Tasks as an indented list: each stands below what it waits for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]


def outline(tasks: list[Json]) -> list[tuple[int, Json]]:
    """``(depth, task)``. The depth is the longest way from a task without dependencies.

    A task stands below its deepest dependency, the last one where several are as deep; otherwise the order stays.
    """
    by_name = {str(task["name"]): task for task in tasks}
    depths = depths_of(by_name)
    children: dict[str | None, list[str]] = {}
    order = {name: place for place, name in enumerate(by_name)}
    for name in by_name:
        above = [one for one in needs(by_name[name]) if one in depths]
        parent = max(above, key=lambda one: (depths[one], order[one]), default=None)
        children.setdefault(parent if name in depths else None, []).append(name)
    return [(depths.get(name, 0), by_name[name]) for name in below(children)]


def needs(task: Json) -> list[str]:
    return [str(name) for name in task.get("depends") or ()]


def depths_of(by_name: dict[str, Json]) -> dict[str, int]:
    """Without those in a cycle, which no server should send."""
    missing = {name: {one for one in needs(task) if one in by_name} for name, task in by_name.items()}
    dependents: dict[str, list[str]] = {}
    for name, above in missing.items():
        for one in above:
            dependents.setdefault(one, []).append(name)
    depths = {name: 0 for name, above in missing.items() if not above}
    ready = list(depths)
    for name in ready:  # grows while it is read
        for child in dependents.get(name, ()):
            missing[child].discard(name)
            if not missing[child]:
                depths[child] = depths[name] + 1
                ready.append(child)
    return depths


def below(children: dict[str | None, list[str]]) -> list[str]:
    """Depth first, without recursion: a chain may be as long as a pipeline."""
    found: list[str] = []
    stack = list(reversed(children.get(None, ())))
    while stack:
        name = stack.pop()
        found.append(name)
        stack += reversed(children.get(name, ()))
    return found
