"""What the server makes of the runner's lines, and what tasks inherit."""

from __future__ import annotations

import pytest

from odin.executors.local import KEPT_ENV, kept, report
from odin.executors.protocol import Absent, Ended, Reason, Started


def test_a_line_becomes_a_report():
    assert report({"op": "started", "id": "a", "at": 1.5, "pid": 7, "born": 9}, "m1") == Started("a", 1.5, 7, "m1")
    assert report({"op": "absent", "id": "a"}, "m1") == Absent("a")


def test_an_end_keeps_all_it_says():
    line = {
        "op": "ended",
        "id": "a",
        "code": 3,
        "reason": "exit",
        "message": "m",
        "at": 2.0,
        "started": 1.0,
        "cpu": 0.5,
        "rss": 9,
        "log": 4,
    }
    assert report(line, "m1") == Ended("a", 3, Reason.EXIT, 2.0, "m", 1.0, 0.5, 9, 4, "m1")


@pytest.mark.parametrize("name", ["PATH", "HOME", "LC_ALL", "LC_TIME", "CUDA_HOME", "XDG_CACHE_HOME"])
def test_a101_what_is_on_the_list_is_kept(name):
    assert kept({name: "x"}, KEPT_ENV) == {name: "x"}


@pytest.mark.parametrize(
    "name", ["ODIN_ROOT_PASS", "LD_PRELOAD", "PYTHONPATH", "LCX", "PATHS", "SSH_AUTH_SOCK", "GIT_DIR", ""]
)
def test_a101_what_is_not_on_the_list_is_not_kept(name):
    assert kept({name: "x"}, KEPT_ENV) == {}
