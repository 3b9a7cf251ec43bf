"""The JSON of odin-status and odin-logs is what docs/commands.md promises, field by field."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from e2e.jobs import job, task
from e2e.serving import Serving

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
TYPES = {"string": str, "number": int, "list": list, "object": dict, "null": type(None)}


def promised(thing: str) -> dict[str, tuple[type, ...]]:
    """The fields of the table after "A <thing>:"."""
    table = PAGE.split(f"\nA {thing}:\n")[1].strip().split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([a-z ]+) \|", table, re.MULTILINE)
    return {name: tuple(TYPES[word] for word in kinds.split(" or ")) for name, kinds in rows}


def check(thing: str, found: dict[str, Any], *, besides: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    fields = promised(thing)
    assert len(fields) >= 4
    assert set(found) - besides == set(fields), thing
    for name, kinds in fields.items():
        assert isinstance(found[name], kinds), (thing, name, found[name])


def launched(odin: Serving) -> str:
    tasks = (
        task("fetch", "echo one; echo two"),
        task("bad", "echo ValueError: no; exit 3", "fetch"),
        task("never", "true", "bad"),
    )
    odin.api().push("json", job(*tasks))
    pipeline = odin.api().launch("json")
    odin.api().finished(pipeline)
    return pipeline


def test_json_of_a_pipeline_and_of_its_tasks_has_the_fields_promised(odin: Serving) -> None:
    pipeline = launched(odin)
    shown = odin.command("odin-status", pipeline, "--json").json["pipeline"]
    check("Pipeline", shown)
    for one in shown["tasks"]:
        check("Task", one)
    (one,) = odin.command("odin-status", f"{pipeline}--bad", "--json").json.values()
    assert one.pop("attempts")[0]["exit_code"] == 3
    assert one == shown["tasks"][1]
    listed = odin.command("odin-status", "--json", "--job", "json").json["pipelines"]
    assert shown in listed


def test_json_of_a_watched_pipeline_is_its_changes(odin: Serving) -> None:
    odin.api().push("json-watch", job(task("one", "sleep 0.3"), task("two", "true", "one")))
    pipeline = odin.api().launch("json-watch")
    told = [json.loads(line) for line in odin.command("odin-status", pipeline, "--watch", "--json").out.splitlines()]
    assert told[0]["event"] == "pipeline"
    assert told[-1]["event"] == "end"
    for one in told:
        kind = "task" if one["event"] == "task" else "pipeline"
        assert set(one) == {"event", kind}
        check(kind.title(), one[kind])


def test_json_of_logs_has_the_fields_promised(odin: Serving) -> None:
    pipeline = launched(odin)
    whole = odin.command("odin-logs", f"{pipeline}--fetch", "--json").json
    assert whole == {"logs": "one\ntwo\n", "offset": 0, "size": 8}
    assert odin.command("odin-logs", pipeline, "--json").json == {
        "logs": {f"{pipeline}--fetch": "one\ntwo\n", f"{pipeline}--bad": "ValueError: no\n"}
    }
    for arguments in (["-f"], ["--grep", "o"], ["--first-error"], ["-f", "--grep", "o"]):
        lines = odin.command("odin-logs", pipeline, "--json", *arguments).out.splitlines()
        assert lines
        for line in lines:
            check("Line", json.loads(line))
