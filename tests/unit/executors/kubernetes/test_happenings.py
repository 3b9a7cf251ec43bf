"""Events of a cluster, as controllers write them in both forms."""

from __future__ import annotations

import pytest

from clusterobjects import NAME
from odin.executors.kubernetes.body import Body
from odin.executors.kubernetes.happenings import read, whose
from odin.model.ids import AttemptId

OLD = {
    "metadata": {"uid": "e1", "creationTimestamp": "2026-08-01T10:00:00Z"},
    "involvedObject": {"kind": "Pod", "name": NAME, "uid": "u1"},
    "type": "Warning",
    "reason": "BackOff",
    "message": "Back-off pulling image\n",
    "source": {"component": "kubelet", "host": "n1"},
    "count": 7,
    "firstTimestamp": "2026-08-01T10:00:00Z",
    "lastTimestamp": "2026-08-01T10:00:30Z",
}
NEW = {
    "metadata": {"uid": "e2", "creationTimestamp": "2026-08-01T10:00:00Z"},
    "involvedObject": {"kind": "Pod", "name": NAME, "uid": "u1"},
    "reason": "Scheduled",
    "message": "assigned",
    "eventTime": "2026-08-01T10:00:00.250000Z",
    "series": {"count": 3, "lastObservedTime": "2026-08-01T10:00:02.500000Z"},
    "reportingComponent": "default-scheduler",
}


def test_an_event_of_the_old_form():
    told = read(OLD)
    assert (told.uid, told.count, told.type, told.reason) == ("e1", 7, "Warning", "BackOff")
    assert (told.source, told.message, told.at) == ("kubelet n1", "Back-off pulling image", 1785578430.0)


def test_an_event_of_the_new_form():
    told = read(NEW)
    assert (told.count, told.type, told.source, told.at) == (3, "Normal", "default-scheduler", 1785578402.5)


def test_an_event_that_says_next_to_nothing():
    told = read({"metadata": {"uid": "e3"}})
    assert (told.name, told.at, told.count, told.message) == ("", 0.0, 1, "")


def about(name, uid):
    return {"metadata": {"uid": "e"}, "involvedObject": {"kind": "Pod", "name": name, "uid": uid}}


@pytest.mark.parametrize(
    ("name", "uid", "found"),
    [
        (NAME, "top", NAME),
        (f"{NAME}-worker-0", "pod", NAME),
        (f"{NAME}-worker-0", "of somebody else", None),
        (f"{NAME}--2", "second", f"{NAME}--2"),
        ("coredns", "top", None),
    ],
)
def test_what_is_known_of_an_object_by_its_uid_wins_over_its_name(name, uid, found):
    first = Body(AttemptId(NAME), object={"metadata": {"uid": "top"}}, pods={"pod": {"metadata": {"uid": "pod"}}})
    second = Body(AttemptId(f"{NAME}--2"), object={"metadata": {"uid": "second"}})
    assert whose(about(name, uid), {body.attempt: body for body in (first, second)}) == found
