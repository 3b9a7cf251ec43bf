"""New text for values of a YAML file, in the style of the text around them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

WIDE = 2**30  # never fold a line
_LIKE_NUMBER = re.compile(r"[-+]?[.0-9][0-9a-fA-FxXoO_.:+-]*")


class _Dumper(yaml.SafeDumper):
    """Writes texts so that YAML 1.2 reads them as texts, and repeats what stands twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  the library's signature
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    if "\n" in text:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
    style = '"' if _LIKE_NUMBER.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dumped(value: Any, *, flow: bool, column: int = 0) -> str:
    """A value as YAML without a last line break; lines after the first are indented by ``column``."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=flow, allow_unicode=True, sort_keys=False, width=WIDE
    )
    lines = text.removesuffix("...\n").rstrip("\n").split("\n")
    return "\n".join([lines[0], *(" " * column + line if line else line for line in lines[1:])])


@dataclass(frozen=True, slots=True)
class Patch:
    """Text that takes the place of the characters from ``start`` to ``end``."""

    start: int
    end: int
    text: str


def patched(text: str, patches: Iterable[Patch]) -> str:
    for patch in sorted(patches, key=lambda patch: (patch.start, patch.end), reverse=True):
        text = text[: patch.start] + patch.text + text[patch.end :]
    return text
