"""The context of a launch: what a job's templates are filled in with. JSON values by name, of bounded size."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from odin.model.errors import Problem, TooLarge, ValidationFailed
from odin.model.names import nearest, shown

MAX_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 8
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def dump_context(context: Mapping[str, Any]) -> str:
    """The context as JSON; raises ValidationFailed for what a template could not name, and TooLarge."""
    _check_names(context)
    if depth(context) > MAX_DEPTH:
        raise ValidationFailed(f"the context is nested deeper than {MAX_DEPTH} levels")
    try:
        text = json.dumps(context, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError) as error:
        raise ValidationFailed(f"the context is not JSON: {error}") from error
    if size > MAX_BYTES:
        raise TooLarge(f"the context has {size} bytes; at most {MAX_BYTES // 1024} KiB are allowed")
    return text


def _check_names(context: Mapping[str, Any]) -> None:
    problems = [
        Problem(f"{shown(name)} cannot be named in a template; use letters, digits and _", path=f"context.{name[:80]}")
        for name in context
        if not _NAME.fullmatch(name)
    ]
    if problems:
        raise ValidationFailed(problems[0].message, problems=problems)


def depth(value: Any) -> int:
    """How deep lists and objects are nested, counted up to a level beyond what is allowed."""
    deepest, waiting = 0, [(value, 1)]
    while waiting and deepest <= MAX_DEPTH:
        each, level = waiting.pop()
        inner = each.values() if isinstance(each, Mapping) else each if isinstance(each, list | tuple) else None
        if inner is not None:
            deepest = max(deepest, level)
            waiting += [(one, level + 1) for one in inner]
    return deepest


def unused(context: Mapping[str, Any], used: Collection[str], *, has_templates: bool) -> list[str]:
    """A warning for each name that no template uses."""
    if not has_templates:
        return [f"the job has no templates, so its context is not used: {', '.join(context)}"] if context else []
    warnings = []
    for name in context:
        if name not in used:
            near = nearest(name, sorted(used))
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            warnings.append(f"no template uses {name} of the context{hint}")
    return warnings
