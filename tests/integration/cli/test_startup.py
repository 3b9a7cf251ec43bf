"""Commands start fast: which modules they may load.

Source: performance.md, W8; dependencies.md, section 6. A module that is new here costs every user at every command.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from integration.cli.scripted import Scripted, Shell, body, pipeline

ID = "hello-ab12cd34"

OWN = """
odin odin.cli odin.cli.entry odin.cli.moments odin.cli.options odin.cli.pipelines odin.cli.screen odin.cli.session
odin.cli.status odin.cli.table odin.cli.text odin.client odin.client.address odin.client.calls odin.client.client
odin.client.cluster odin.client.encoding odin.client.errors odin.client.jobs odin.client.pipeline odin.client.pipelines
odin.client.problems odin.client.record odin.client.resources odin.client.server odin.client.signin odin.client.tokens
odin.client.users odin.client.wire
"""
LIBRARY = """
__future__ _json _socket argparse binascii collections collections.abc copyreg enum fcntl functools gettext itertools json
json.decoder json.encoder json.scanner keyword operator re re._casefix re._compiler re._constants re._parser reprlib
types _collections _functools _operator _sre
"""
# Python itself, site, and what a development installation adds to it.
BEFORE = {
    "sys",
    "builtins",
    "importlib",
    "importlib.util",
    "importlib.machinery",
    "importlib._abc",
    "contextlib",
    "warnings",
}


def loaded(shell: Shell, code: str) -> set[str]:
    program = f"{code}\nimport sys\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=shell.environ(), capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stderr.split())


@pytest.fixture
def floor(shell: Shell) -> set[str]:
    return loaded(shell, "pass")


def test_status_of_a_finished_pipeline_loads_no_new_module(server: Scripted, shell: Shell, floor: set[str]) -> None:
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline()}))
    code = f"import sys\nsys.argv = ['odin-status', {ID!r}]\nfrom odin.cli.entry import status\nassert status() == 0"
    assert loaded(shell, code) - floor - BEFORE - set(OWN.split()) - set(LIBRARY.split()) == set()


def test_help_of_odin_loads_no_command(shell: Shell, floor: set[str]) -> None:
    code = "import sys\nsys.argv = ['odin', '--help']\nfrom odin.cli.entry import odin\nassert odin() == 0"
    assert loaded(shell, code) - floor - BEFORE == {"odin", "odin.cli", "odin.cli.entry"}


@pytest.mark.parametrize("word", ["run", "logs", "push", "status", "auth", "user", "live", "interleaved"])
def test_no_command_loads_the_server_or_a_heavy_module(shell: Shell, word: str) -> None:
    found = loaded(shell, f"import odin.cli.{word}")
    heavy = {
        "dataclasses",
        "typing",
        "pathlib",
        "logging",
        "asyncio",
        "subprocess",
        "urllib.request",
        "http.client",
        "ssl",
    }
    server = {f"odin.{room}" for room in ("main", "api", "engine", "executors", "jobs", "store", "settings", "model")}
    assert found & (server | heavy) <= loaded(shell, "import threading, queue") & heavy
