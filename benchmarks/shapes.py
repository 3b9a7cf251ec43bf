"""The pipelines that are measured, and each of them as Odin, make and ninja read it. Every task is ``/bin/true``."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

PROGRAM = "/bin/true"


@dataclass(frozen=True, slots=True)
class Shape:
    """``depends`` maps each task to those before it, in an order in which they could run."""

    name: str
    depends: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.depends)


def fan_out(count: int) -> Shape:
    """Tasks that do not know one another."""
    return Shape("fan-out", {_task(index): () for index in range(count)})


def chain(count: int) -> Shape:
    """One after the other."""
    before = {index: (_task(index - 1),) if index else () for index in range(count)}
    return Shape("chain", {_task(index): parents for index, parents in before.items()})


def layers(count: int, width: int, parents: int, seed: int = 20) -> Shape:
    """Each task depends on some of the layer before, chosen at random but the same for everybody."""
    choice = random.Random(seed)
    depends: dict[str, tuple[str, ...]] = {}
    above: list[str] = []
    for layer in range(count):
        here = [_task(layer * width + index) for index in range(width)]
        depends |= {task: tuple(sorted(choice.sample(above, parents))) if above else () for task in here}
        above = here
    return Shape("layers", depends)


def diamond() -> Shape:
    return Shape("diamond", {"first": (), "left": ("first",), "right": ("first",), "last": ("left", "right")})


def training(count: int) -> Shape:
    """``count`` pipelines of five tasks: prepare, three trainings, choose."""
    depends: dict[str, tuple[str, ...]] = {}
    for index in range(count):
        names = {word: f"{word}-{index}" if count > 1 else word for word in ("prepare", "a", "b", "c", "choose")}
        depends[names["prepare"]] = ()
        depends |= {names[word]: (names["prepare"],) for word in "abc"}
        depends[names["choose"]] = tuple(names[word] for word in "abc")
    return Shape("training", depends)


def main_yml(shape: Shape) -> str:
    return "\n".join(["tasks:", *_entries(shape), ""])


def makefile(shape: Shape) -> str:
    """make starts such a simple command itself, without a shell."""
    lines = [f".PHONY: all {' '.join(shape.depends)}", f"all: {' '.join(shape.depends)}"]
    for task, parents in shape.depends.items():
        lines += [f"{task}: {' '.join(parents)}", f"\t@{PROGRAM}"]
    return "\n".join([*lines, ""])


def build_ninja(shape: Shape) -> str:
    """No output is ever made, so everything runs each time; ninja always starts a shell."""
    lines = ["rule run", f"  command = {PROGRAM}"]
    for task, parents in shape.depends.items():
        lines.append(f"build {task}: run{' | ' if parents else ''}{' '.join(parents)}")
    return "\n".join([*lines, ""])


def _entries(shape: Shape) -> Iterator[str]:
    for task, parents in shape.depends.items():
        yield f"  - name: {task}"
        yield f"    command: {PROGRAM}"
        if parents:
            yield f"    depends: [{', '.join(parents)}]"


def _task(index: int) -> str:
    return f"t{index:05d}"
