"""The rules of the house, kept by a test so that nobody has to remember them."""

import ast
import os
import re
import runpy
import shutil
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from odin import __version__
from odin.settings import reference

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/odin"
MODULES = sorted(PACKAGE.rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LOCKS = sorted(ROOT.glob("requirements/*.txt"))
Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def nodes(kind) -> Iterator[tuple[Path, ast.AST]]:
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, kind):
                yield path, node


def length(function: Function) -> int:
    """Lines from ``def`` to the end, without the docstring: a contract may be as long as it needs."""
    words = function.body[0] if ast.get_docstring(function, clean=False) is not None else None
    return function.end_lineno - function.lineno + 1 - (words.end_lineno - words.lineno + 1 if words else 0)


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func)


# ---- sizes and names -----------------------------------------------------------------------------------------------


def test_functions_are_small():
    """Migrations are tables: data, which may be as long as it needs."""
    sizes = {place(path, node): length(node) for path, node in nodes(Function) if "versions" not in path.parts}
    assert [f"{where} has {size} lines" for where, size in sizes.items() if size > 50] == []
    over = sorted(((size, where) for where, size in sizes.items() if size > 30), reverse=True)
    assert len(over) <= 0.05 * len(sizes), f"{len(over)} of {len(sizes)} functions are over 30 lines: {over}"
    assert statistics.median(sizes.values()) <= 8


def test_modules_are_split_before_five_hundred_lines():
    sizes = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in MODULES}
    assert [f"{path}: {size}" for path, size in sizes.items() if size >= 500] == []


def test_a_module_is_named_after_what_it_holds():
    banned = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
    assert [path for path in MODULES if path.stem in banned or path.parent.name in banned] == []


def test_every_module_says_what_is_in_it():
    assert [str(path) for path in MODULES if path.read_text() and not ast.get_docstring(tree(path))] == []


def test_imports_point_down():
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- what the product never does -----------------------------------------------------------------------------------


def test_everything_is_caught_at_the_marked_borders_only():
    """Or to clean up and raise again."""
    broad = []
    for path, handler in nodes(ast.ExceptHandler):
        caught = ast.unparse(handler.type) if handler.type else "BaseException"
        last = handler.body[-1]
        if not re.search(r"\b(Base)?Exception\b", caught) or (isinstance(last, ast.Raise) and last.exc is None):
            continue
        if not re.search(
            r"#.*\bborder(:| of an?) (turn|request|chore|command)\b", path.read_text().splitlines()[handler.lineno - 1]
        ):
            broad.append(place(path, handler))
    assert broad == []


def test_a37_no_shell_stands_between_odin_and_a_program():
    shells = []
    for path, call in nodes(ast.Call):
        words = [argument.value for argument in ast.walk(call) if isinstance(argument, ast.Constant)]
        if (
            any(keyword.arg == "shell" for keyword in call.keywords)
            or re.fullmatch(
                r"os\.(system|popen|spawn\w*)|.*subprocess_shell|subprocess\.get(status)?output", name_of(call)
            )
            or (
                "-c" in words
                and {"sh", "bash", "/bin/sh", "/bin/bash"} & {word for word in words if isinstance(word, str)}
            )
        ):
            shells.append(place(path, call))
    assert shells == []


def test_no_data_is_ever_run_as_code():
    names = re.compile(r"(pickle|marshal|shelve|dill)\.\w+|eval|exec|yaml\.(load|full_load|unsafe_load)(_all)?")
    assert [place(path, call) for path, call in nodes(ast.Call) if names.fullmatch(name_of(call))] == []


def test_fault_points_mean_nothing_without_the_test_distribution():
    code = (
        "import sys; sys.modules['odin_testing'] = None; from odin.faults import reach; reach('here'); print('alive')"
    )
    environment = {**os.environ, "ODIN_FAULT": "here:kill"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_the_product_does_not_ask_for_the_test_distribution():
    wanted = " ".join([*PROJECT["dependencies"], (ROOT / "requirements/server.txt").read_text()])
    assert "odin-pipelines-testing" not in wanted
    importers = {str(path.relative_to(PACKAGE)) for path in MODULES if "odin_testing" in path.read_text()}
    assert importers <= {"faults.py", "executors/connection.py"}


# ---- dependencies --------------------------------------------------------------------------------------------------


def test_every_dependency_has_its_reason_beside_it():
    text = (ROOT / "pyproject.toml").read_text()
    lines = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.M | re.S)[1].splitlines()
    assert [line for line in lines if not re.search(r",\s+# \w+", line)] == []


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a110_locks_pin_by_hash_and_name_no_host(path):
    pins = path.read_text().replace("\\\n", " ").splitlines()
    assert [pin for pin in pins if "://" in pin or pin.startswith("-")] == []
    assert [
        pin for pin in pins if not pin.startswith("#") and not re.match(r"[\w.-]+==\S+ .*--hash=sha256:", pin)
    ] == []


def test_every_package_that_is_imported_is_a_dependency():
    brought = {"yaml": "pyyaml", "jwt": "pyjwt", "argon2": "argon2-cffi", "pynvml": "nvidia-ml-py"}
    brought |= {"starlette": "fastapi", "anyio": "fastapi", "pydantic_core": "pydantic"}
    roots = {alias.name.split(".")[0] for _, node in nodes(ast.Import) for alias in node.names}
    roots |= {node.module.split(".")[0] for _, node in nodes(ast.ImportFrom) if node.module and not node.level}
    foreign = roots - set(sys.stdlib_module_names) - {"odin", "odin_testing"}
    listed = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
    wanted = {re.match(r"[\w-]+", name)[0] for name in listed}
    assert {brought.get(root, root) for root in foreign} <= wanted


def test_the_server_lock_has_every_dependency():
    pinned = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements/server.txt").read_text(), re.M))
    assert {re.match(r"[\w-]+", name)[0] for name in PROJECT["dependencies"]} <= pinned


# ---- dev.py and rows -----------------------------------------------------------------------------------------------


def test_dev_py_needs_the_standard_library_alone():
    imports = [node for node in ast.walk(tree(ROOT / "dev.py")) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names)


def test_each_word_of_the_makefile_is_one_of_dev_py():
    words = re.search(r"^([a-z -]+):\n\t@python3 dev\.py \$@$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    known = runpy.run_path(str(ROOT / "dev.py"))
    assert set(words) == set(known["WORDS"])
    assert all(word in known["__doc__"] for word in words)


def test_what_is_missing_is_named_with_the_line_that_brings_it(tmp_path):
    shutil.copy(ROOT / "dev.py", tmp_path)
    for folder in ("requirements", "testing"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("src", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    done = subprocess.run(
        [sys.executable, "dev.py", "install"], cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert re.fullmatch(r"dev\.py: git.* missing: apt-get update && apt-get install -y git.*\n", done.stderr)


def test_a_mistyped_word_gets_the_nearest_one():
    done = subprocess.run([sys.executable, "dev.py", "tset"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, 'dev.py: there is no word "tset"; did you mean test?\n')


def test_a_mistyped_extra_is_refused_with_those_that_there_are():
    done = subprocess.run([sys.executable, "dev.py", "install", "postgres"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (
        2,
        'dev.py: there is no extra "postgres"; there are kubernetes and postgresql\n',
    )


def test_each_due_row_of_the_catalogues_has_a_test():
    rows = runpy.run_path(str(ROOT / "tests/rows.py"))
    tests, catalogue = rows["covered"](), rows["catalogue"]()
    assert len(catalogue) == 77 + 75
    assert [row.id for row in catalogue if row.due and row.id not in tests] == []
    assert rows["unexplained"]() == []
    assert set(tests) <= {row.id for row in catalogue}


# ---- documents -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_somewhere(path):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text())
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []


def test_the_settings_are_documented_as_they_are():
    rows = [f"| `{name}` | {default} | {about} |" for name, default, about in reference()]
    text = (ROOT / "docs/settings.md").read_text()
    assert [row for row in rows if row not in text] == [], "\n".join(rows)


def test_every_command_is_documented():
    text = (ROOT / "docs/commands.md").read_text()
    assert [name for name in PROJECT["scripts"] if f"`{name}" not in text] == []


def test_the_version_is_the_same_everywhere():
    assert PROJECT["version"] == __version__
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()
