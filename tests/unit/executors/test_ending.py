"""What the end of a process means in words."""

from __future__ import annotations

import signal

import pytest

from odin.executors.protocol import Reason
from odin.executors.runner.ending import Stop, Verdict, signal_words, verdict

EXIT_3 = 3 << 8


def test_an_exit_has_its_code_and_nothing_to_add():
    assert verdict(EXIT_3, None) == Verdict(3, "exit")


def test_a_signal_is_128_and_its_number_and_told_in_words():
    assert verdict(11, None) == Verdict(139, "signal", "killed by SIGSEGV (segmentation fault)")
    assert verdict(9 | 0x80, None) == Verdict(137, "signal", "killed by SIGKILL (killed)")


def test_a_signal_without_a_name_has_its_number():
    assert signal_words(40) == "signal 40"


def test_an_end_that_nobody_saw_is_lost():
    assert verdict(None, None, "nobody saw it") == Verdict(None, "lost", "nobody saw it")


@pytest.mark.parametrize("status", [0, EXIT_3, int(signal.SIGTERM)])
def test_a_stopped_task_is_stopped_whatever_its_code(status):
    end = verdict(status, Stop("stopped", "cancelled by ann", 30.0))
    assert (end.reason, end.message) == ("stopped", "cancelled by ann")


def test_a_forced_end_says_so():
    end = verdict(9, Stop("timeout", "it ran longer than its timeout of 90 s", 2.5, forced=True))
    assert end.code == 137
    assert (
        end.message == "it ran longer than its timeout of 90 s; it did not end within 2.5 s of SIGTERM and was killed"
    )


def test_every_reason_is_one_of_the_protocol():
    assert {verdict(0, None).reason, verdict(9, None).reason, verdict(None, None).reason} <= set(Reason)
