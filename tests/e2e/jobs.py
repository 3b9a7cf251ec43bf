"""Job files for tests: tasks that are shell scripts."""

from __future__ import annotations

from typing import Any


def task(name: str, script: str, *depends: str, **fields: Any) -> dict[str, Any]:
    """One task; ``$`` in the script is the shell's."""
    return {
        "name": name,
        "command": ["sh", "-c"],
        "args": [script.replace("$", "$$")],
        "depends": list(depends),
        **fields,
    }


def job(*tasks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"tasks": list(tasks), **fields}


SLEEPER = task("slow", "sleep 1000")
