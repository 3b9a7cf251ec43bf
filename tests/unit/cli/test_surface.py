"""The commands are written on the Python client, as anybody's program could be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from odin import cli

MODULES = sorted(Path(cli.__file__).parent.glob("*.py"))
# Its public modules; what is below them (requests, streams, the way a log is followed) is the client's own.
PUBLIC = {"address", "client", "errors", "pipeline", "tokens"}


def imports(path: Path) -> Iterator[str]:
    """What is imported to run; a name that only a type checker reads is none."""
    tree = ast.parse(path.read_text())
    skipped = {inner for node in tree.body if isinstance(node, ast.If) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in skipped and (node.module or "").startswith("odin.client"):
            yield (node.module or "").removeprefix("odin.client.")


def test_commands_use_the_clients_public_surface_only() -> None:
    found = {path.name: set(imports(path)) - PUBLIC for path in MODULES}
    assert {name: modules for name, modules in found.items() if modules} == {}


def test_no_command_reaches_below_the_client() -> None:
    attributes = {
        f"{path.name}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "server"
    }
    assert attributes == set()
