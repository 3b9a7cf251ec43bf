"""Which rows of the failure and attack catalogues (rows.txt) have a test named after them: ``python3 tests/rows.py``.

``test_f08_...`` belongs to F-08. The standard library alone, so that it runs before anything is installed.
"""

import ast
import re
import sys
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).resolve().parent
NAMED = re.compile(r"test_([fa])(\d+)_")


class Row(NamedTuple):
    id: str
    due: bool
    title: str
    reason: str  # what of it is deliberately not done, and why; empty where all is


def catalogue() -> list[Row]:
    lines = (TESTS / "rows.txt").read_text(encoding="utf-8").splitlines()
    fields = (line.split(maxsplit=2) for line in lines if line[:2] in ("* ", "- "))
    return [Row(row, mark == "*", *title.partition(" -- ")[::2]) for mark, row, title in fields]


def unexplained() -> list[str]:
    """Faults with neither a test nor a reason."""
    tests = covered()
    return [row.id for row in catalogue() if row.id.startswith("F") and row.id not in tests and not row.reason]


def covered() -> dict[str, list[str]]:
    """Row to the tests named after it, as ``folder/file.py::name``."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for name in _functions(path):
            if match := NAMED.match(name):
                row = f"{match[1].upper()}-{int(match[2]):02d}"
                found.setdefault(row, []).append(f"{path.relative_to(TESTS)}::{name}")
    return found


def _functions(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _without(row: Row) -> str:
    return "reason" if row.reason else "DUE" if row.due else "later"


def main() -> int:
    tests, rows = covered(), catalogue()
    width = max(len(row.id) for row in rows)
    for row in rows:
        count = f"{len(tests[row.id])} tests" if row.id in tests else _without(row)
        print(
            f"{row.id:<{width}}  {count:<8}  {row.title}" + (f"\n{'':<{width + 12}}{row.reason}" if row.reason else "")
        )
    for kind, name in (("F", "failure"), ("A", "attack")):
        of = [row for row in rows if row.id.startswith(kind)]
        told = sum(row.id in tests or bool(row.reason) for row in of)
        print(f"{sum(row.id in tests for row in of)} of {len(of)} {name} rows have a test, {told} a test or a reason")
    missing = [row.id for row in rows if row.due and row.id not in tests]
    due = sum(row.due for row in rows)
    print(
        f"{due - len(missing)} of {due} due rows have a test" + (f"; missing: {', '.join(missing)}" if missing else "")
    )
    unknown = sorted(set(tests) - {row.id for row in rows})
    print(f"tests of rows that do not exist: {', '.join(unknown)}" if unknown else "", end="\n" if unknown else "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
