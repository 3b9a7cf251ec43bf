"""The power goes at some moments of a server's life. ``python3 dev.py chaos --only R4`` takes hundreds of them."""

import os
import random

import pytest

from chaos.disk import PAGE, Disk
from chaos.powerloss import Rebuilding, Record, missing
from chaos.syscalls import Call
from e2e.serving import Serving

STATES = max(4, int(os.environ.get("ODIN_CHAOS", "5")))


@pytest.mark.skipif(missing() is not None, reason=f"not run here: {missing()}")
def test_f02_what_was_acknowledged_is_there_after_the_power_went():
    odin = Serving()
    try:
        record = Record(odin)
        record.make()
        assert Rebuilding(record, random.Random(1)).run(STATES) == []
    finally:
        odin.close(quiet=False)


def disk(*said):
    made = Disk()
    for number, (name, *words) in enumerate(said):
        opened = words.pop() if name == "openat" else ""
        made.follow(Call(float(number), name, tuple(words), len(words[1]) if name == "write" else 0, opened))
    return made


def left(made, share):
    return {path: content for path, (_, content) in made.left(random.Random(1), share).items()}


MADE = ("openat", "/", b"/a", "O_CREAT|O_RDWR", "0600", "/a")


def test_what_was_not_synced_may_be_there_or_not():
    made = disk(
        MADE, ("write", "/a", b"one", "3"), ("fsync", "/a"), ("write", "/a", b"two", "3"), ("rename", b"/a", b"/b")
    )
    assert left(made, 0) == {"/a": b"one"}
    assert left(made, 1) == {"/b": b"onetwo"}


def test_a_sync_of_one_file_keeps_the_name_of_another_and_not_its_content():
    other = ("openat", "/", b"/c", "O_CREAT|O_RDWR", "0600", "/c")
    made = disk(MADE, ("write", "/a", b"one", "3"), other, ("fsync", "/c"))
    assert left(made, 0) == {"/a": b"", "/c": b""}


def test_of_a_long_write_some_pages_may_be_there():
    made = disk(MADE, ("fsync", "/a"), ("write", "/a", b"x" * 20 * PAGE, str(20 * PAGE)))
    content = left(made, 0.5)["/a"]
    pages = {content[first : first + PAGE] for first in range(0, len(content), PAGE)}
    assert pages == {bytes(PAGE), b"x" * PAGE}
