"""``from odin import Client`` for those who installed nothing else, and for type checkers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import odin
from integration.cli.scripted import Scripted, body, events, frame, pipeline, token

ROOT = Path(__file__).parents[3]
ID = "hello-ab12cd34"
# What a server needs and a user of the client may not have.
SERVER = """
fastapi starlette uvicorn httptools uvloop websockets jinja2 multipart sqlalchemy alembic pygit2 jwt argon2 yaml
pydantic msgspec pynvml shtab anyio
"""

ALONE = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {SERVER.split()!r}:
            raise ModuleNotFoundError(f"there is no {{name}}", name=name)
sys.meta_path.insert(0, Absent())
before = set(sys.modules)
import odin
for name in odin.PLACES.values():
    for each in name:
        getattr(odin, each)
client = odin.Client({{url!r}}, token={{token!r}})
done = client.run("hello").wait()
print(done.outcome, len(done._repr_html_()) > 100, len(str(done)) > 100, done.log("train"))
print(*(name for name in set(sys.modules) - before if name.startswith("odin.") and name.split(".")[1] != "client"))
"""


def test_the_client_works_with_the_standard_library_alone(server: Scripted) -> None:
    server.on("POST /v1/pipelines", body({"pipeline": {"id": ID, "name": "hello", "job": "hello"}}))
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline(None)}))
    server.on(f"GET /v1/pipelines/{ID}/stream", events(frame("end", pipeline("succeeded"), 5)))
    server.on(f"GET /v1/resources/{ID}--train/logs", body({"logs": "42", "offset": 0, "size": 2}))
    code = ALONE.replace("{url!r}", repr(server.url)).replace("{token!r}", repr(token("ana")))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "succeeded True True 42\n\n"), done.stderr


def test_importing_the_client_loads_nothing_heavy() -> None:
    code = "import sys; before = set(sys.modules); from odin import Client; print(*set(sys.modules) - before)"
    found = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    heavy = "dataclasses typing pathlib logging asyncio subprocess urllib.request http.client ssl socket threading html"
    assert found & set(heavy.split()) == set()


def test_every_public_name_is_there_and_no_other() -> None:
    for names in odin.PLACES.values():
        for name in names:
            assert getattr(odin, name).__name__ == name
            assert name in dir(odin)
    with pytest.raises(AttributeError, match="has no attribute 'Clients'"):
        _ = odin.Clients  # type: ignore[attr-defined]


USER = """
from odin import Client, ClientError, Pipeline, Task
client = Client("https://odin.example.com", username="ana", password="x")
pipeline = client.run("hello", {"lr": 0.1})
reveal_type(pipeline.wait(60.0).outcome)
reveal_type(pipeline.task("train").exit_code)
reveal_type([task.name for task in pipeline.tasks])
reveal_type(next(client.follow(pipeline.id)).task)
reveal_type(next(client.follow_lines("x")))
reveal_type([one.id for one in client.pipelines(limit=3)])
reveal_type(client.jobs()[0].files)
reveal_type(client.push("a", {"b": b"c"}).version)
try:
    client.cancel("x")
except ClientError as error:
    reveal_type((error.status, error.problems[0].line))
pipeline.taks
client.run(job=3)
"""


def test_users_see_the_types(tmp_path: Path) -> None:
    assert (Path(odin.__file__).parent / "py.typed").exists()
    (tmp_path / "user.py").write_text(USER)
    program = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary", "user.py"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, env={"MYPYPATH": str(ROOT / "src")})
    found = [line.partition(": ")[2].partition(";")[0] for line in done.stdout.splitlines()]
    assert [line.removeprefix("note: Revealed type is ") for line in found] == [
        '"str | None"',
        '"int | None"',
        '"list[str]"',
        '"odin.client.pipeline.Task | None"',
        '"str"',
        '"list[str]"',
        '"dict[str, int]"',
        '"str"',
        '"tuple[int, int | None]"',
        'error: "Pipeline" has no attribute "taks"',
        'error: Argument "job" to "run" of "PipelineCalls" has incompatible type "int"',
    ], done.stdout + done.stderr
