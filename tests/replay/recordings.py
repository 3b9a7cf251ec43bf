"""The recordings: data files, one for each command of the older programs, with a part for each way of using it.

``recordings/http`` holds exchanges of requests and answers, ``recordings/websocket`` connections with what is said on
them. ``${name}`` in what is sent or read stands for a value of ``world.py``, or for one that an earlier answer gave
(``keep``). What a file may hold is what the classes here have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "recordings"


@dataclass(frozen=True)
class Answer:
    """What a program reads from an answer over HTTP.

    ``type`` is a media type, ``body`` a pattern of JSON, ``text`` the whole body as text. ``without`` names keys whose
    being there would say something else to the program.
    """

    status: int
    type: str | None = None
    body: Any = None
    text: str | None = None
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exchange:
    """``send`` is method and path; one of ``json``, ``form``, ``plain`` the body, byte for byte. ``program`` sent it."""

    send: str
    answer: Answer
    headers: Mapping[str, str] = field(default_factory=dict)
    json: str | None = None
    form: str | None = None
    plain: str | None = None
    program: str = "requests"
    keep: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hearing:
    """A reply on a WebSocket: one of a pattern, or with ``repeated`` any number of them until what follows."""

    reply: Any
    repeated: bool = False
    keep: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Talk:
    """One connection: a request and the replies. ``closed`` is the code that the server closes with.

    ``callers`` say how the token is carried, one test for each: by ``nobody``, in a ``header``, in the ``message``, in
    the ``query``.
    """

    send: str
    hears: tuple[Hearing, ...] = ()
    callers: tuple[str, ...] = ("nobody", "header", "message")
    closed: int | None = None


@dataclass(frozen=True)
class Recording:
    """One way of using one command. ``server`` names one of ``world.SERVERS``."""

    command: str
    variant: str
    server: str = "usual"
    exchanges: tuple[Exchange, ...] = ()
    talk: Talk | None = None

    @property
    def id(self) -> str:
        return re.sub(r"[^\w/]+", "-", f"{self.command}/{self.variant}")


def over_http() -> Iterator[Recording]:
    for command, part in _parts("http"):
        exchanges = tuple(
            Exchange(**{**each, "answer": Answer(**_tuples(each["answer"]))}) for each in part.pop("exchanges")
        )
        yield Recording(command, exchanges=exchanges, **part)


def over_websocket() -> Iterator[Recording]:
    for command, part in _parts("websocket"):
        talk = _tuples(part.pop("talk"))
        talk["hears"] = tuple(Hearing(**each) for each in talk.get("hears", ()))
        yield Recording(command, talk=Talk(**talk), **part)


def _parts(folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((FOLDER / folder).glob("*.yml")):
        for part in yaml.safe_load(path.read_text(encoding="utf-8")):
            yield path.stem, part


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    names = ("without", "callers")
    return {name: tuple(value) if name in names else value for name, value in fields.items()}


def fill(template: Any, values: Mapping[str, str]) -> Any:
    """A recorded text, pattern or mapping with its ``${names}`` filled in; ``$$`` is one dollar."""
    if isinstance(template, str):
        return Template(template).substitute(values)
    if isinstance(template, list):
        return [fill(item, values) for item in template]
    if isinstance(template, dict):
        return {fill(key, values): fill(item, values) for key, item in template.items()}
    return template


def found(value: Any, path: str) -> str:
    """What stands at ``pipeline.id`` or ``0.label`` in an answer."""
    for step in path.split("."):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return str(value)
