"""Outputs that come back with a pod's end, written where tasks with the same volume may write too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from odin.executors.kubernetes.outputs import keep

TEXT = '{"loss": 0.5}'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs" / "p-abcd1234" / ".odin" / "outputs" / "p-abcd1234--a.json"


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """Something that is not the pipeline's."""
    (tmp_path / "stranger").mkdir()
    file = tmp_path / "stranger" / "file"
    file.write_text("mine")
    return file


def test_outputs_are_kept_again_as_often_as_need_be(place: Path) -> None:
    keep(place, "{}")
    keep(place, TEXT)
    assert place.read_text() == TEXT
    assert list(place.parent.iterdir()) == [place]


@pytest.mark.parametrize("name", ["p-abcd1234--a.json", ".p-abcd1234--a.json"])
@pytest.mark.parametrize("make", ["link", "fifo", "file"])
def test_f94_what_a_task_left_in_the_place_of_its_outputs_is_replaced(
    place: Path, stranger: Path, name: str, make: str
) -> None:
    place.parent.mkdir(parents=True)
    there = place.parent / name
    {"link": lambda: there.symlink_to(stranger), "fifo": lambda: os.mkfifo(there), "file": there.touch}[make]()
    keep(place, TEXT)
    assert place.read_text() == TEXT and not place.is_symlink()
    assert stranger.read_text() == "mine"


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_f94_a_link_on_the_way_to_the_outputs_is_not_followed(place: Path, stranger: Path, depth: int) -> None:
    way = place.parents[depth]
    way.parent.mkdir(parents=True, exist_ok=True)
    way.symlink_to(stranger.parent)
    keep(place, TEXT)
    assert [path.name for path in stranger.parent.iterdir()] == ["file"]


def test_f94_a_folder_in_the_place_of_the_outputs_keeps_nobody_waiting(place: Path) -> None:
    (place / "deep").mkdir(parents=True)
    keep(place, TEXT)
    assert (place / "deep").is_dir()
