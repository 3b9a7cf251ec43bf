"""How things look: in a notebook, where every text comes from somebody else's job, and in a console."""

from __future__ import annotations

import html.parser
from typing import Any

import pytest

from integration.cli.scripted import Scripted, body, pipeline, task
from odin import Client, Pipeline

ID = "hello-ab12cd34"
CANARY = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&lt;"
ALLOWED = {"div", "b", "span", "table", "thead", "tbody", "tr", "th", "td"}


class Page(html.parser.HTMLParser):
    """The tags, attributes and texts that a browser would see."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.styles: set[str] = set()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.open.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.styles |= {str(value) for name, value in attrs if name == "style"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def poisoned(value: Any) -> Any:
    """Every text is the canary, but for the states, which are the API's own words."""
    if isinstance(value, dict):
        return {key: value[key] if key in ("outcome", "attempt") else poisoned(value[key]) for key in value}
    if isinstance(value, list):
        return [poisoned(one) for one in value]
    return CANARY if isinstance(value, str) or value is None else value


@pytest.fixture
def odin(server: Scripted) -> Scripted:
    hostile = poisoned(pipeline("failed", id=ID, errorMessage="x", warnings=["x"], context={"x": "y"}))
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": hostile}))
    server.on("GET /v1/pipelines?limit=100", body({"pipelines": [hostile] * 30}))
    server.on(
        "GET /v1/jobs/hello",
        body({"job": poisoned({"id": "x", "location": "y"}) | {"files": [{"name": CANARY, "bytes": 3}]}}),
    )
    server.on("GET /v1/jobs", body({"jobs": [poisoned({"id": "x", "location": "y", "creationTime": "z"})]}))
    server.on("GET /v1/users", body({"users": [poisoned({"username": "x", "role": "y"})]}))
    server.on("GET /v1/nodes", body({"nodes": [poisoned({"host": "x", "cpu": "4", "gpus": []})]}))
    event = {"timestamp": "x", "eventType": "y", "reason": "z", "message": "m"}
    server.on(f"GET /v1/resources/{ID}/events", body({"events": [poisoned(event)]}))
    return server


def test_a63_no_text_of_a_job_becomes_markup(odin: Scripted, client: Client) -> None:
    shown = [
        client.pipeline(ID),
        client.pipeline(ID).tasks[0],
        client.pipelines(),
        client.job("hello"),
        client.jobs(),
        client.users(),
        client.nodes(),
        client.events(ID),
    ]
    for thing in shown:
        source = thing._repr_html_()  # type: ignore[attr-defined]
        page = Page(source)
        assert page.tags <= ALLOWED
        assert page.attributes <= {"style"}
        assert not any("alert" in style or "url" in style for style in page.styles)
        assert CANARY in page.texts
        assert "<script" not in source


def test_a_pipeline_shows_its_tasks_and_their_states(server: Scripted, client: Client) -> None:
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline("failed", errorMessage="train failed")}))
    texts = Page(client.pipeline(ID)._repr_html_()).texts
    assert texts[:4] == ["failed", " ", ID, " of hello"]
    assert "train failed" in texts
    rows = texts[texts.index("reason") + 1 :]
    assert rows == ["fetch", "executed", "1", "0", "train", "failed", "1", "2", "exit code 2"]


def test_a_pipeline_shows_what_it_was_launched_with(server: Scripted, client: Client) -> None:
    held = pipeline("succeeded", context={"lr": 0.1, "note": "\x1b[2J", "long": "x" * 999})
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": held}))
    line = str(client.pipeline(ID)).splitlines()[1]
    assert line.startswith("  with lr=0.1, note=\\x1b[2J, long=xxx")
    assert line.endswith("x…")
    assert any(text.startswith("with lr=0.1") for text in Page(client.pipeline(ID)._repr_html_()).texts)


def test_states_are_legible_on_any_background(server: Scripted, client: Client) -> None:
    """Each badge brings its own background and white on it; the rest takes the page's colours."""
    from odin.client.html import COLOURS, OTHER

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in {*COLOURS.values(), OTHER}:
        assert 1.05 / (luminance(colour) + 0.05) >= 4.5
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline("failed")}))
    styles = Page(client.pipeline(ID)._repr_html_()).styles
    assert all("background" in style for style in styles if ";color" in style)


def test_a_long_listing_shows_the_newest_and_says_so(odin: Scripted, client: Client) -> None:
    found = client.pipelines()
    assert Page(found._repr_html_()).texts[-1] == "and more"
    assert len(list(found)) == 30
    assert len(odin.requests) == 1


def test_in_a_console_it_is_a_table_too_and_safe(server: Scripted, client: Client) -> None:
    hostile = pipeline("failed", tasks=[task("train", "failed", reason="\x1b]0;title\x07\n")])
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": hostile}))
    one = client.pipeline(ID)
    assert repr(one) == f"<Pipeline {ID} failed>"
    assert str(one).splitlines() == [
        f"{ID}  failed",
        "task   status  attempt  exit  reason",
        r"train  failed  1        2     \x1b]0;title\x07\n",
    ]


def test_what_was_just_launched_asks_for_the_rest_when_it_is_wanted(server: Scripted, client: Client) -> None:
    server.on("POST /v1/pipelines", body({"pipeline": {"id": ID, "name": "hello", "job": "hello"}}))
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline(None)}))
    launched = client.run("hello")
    assert (launched.id, launched.job, len(server.requests)) == (ID, "hello", 1)
    assert repr(launched) == f"<Pipeline {ID} launched>"
    assert (launched.status, launched.outcome, len(server.requests)) == ("RUNNING", None, 2)


def test_attributes_are_those_of_the_answer(server: Scripted, client: Client) -> None:
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline("failed", news="later version")}))
    one = client.pipeline(ID)
    train = one.task("train")
    assert (train.exit_code, train.resource_id, train.over) == (2, f"{ID}--train", True)
    assert one.raw["news"] == "later version"
    assert {"exit_code", "completion_time", "log"} <= set(dir(train))
    with pytest.raises(AttributeError, match="Task has no attribute 'exitcode'"):
        _ = train.exitcode  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        train.status = "executed"


def test_things_are_equal_by_what_they_say(server: Scripted, client: Client) -> None:
    server.on(f"GET /v1/pipelines/{ID}", body({"pipeline": pipeline("failed")}))
    assert client.pipeline(ID) == client.pipeline(ID)
    assert client.pipeline(ID) != Pipeline({"id": ID}, client)
