"""How long what may pass is borne, and what is asked about it. Events and nodes are as an API server tells them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from clusterobjects import NAME, condition, container, event, pod, running, waiting
from odin.executors.kubernetes import patience
from odin.executors.kubernetes.body import Body, Doom
from odin.executors.kubernetes.kind import Api, Object
from odin.executors.kubernetes.kinds.pod import API as PODS
from odin.executors.kubernetes.kinds.pod import POD
from odin.executors.kubernetes.patience import Patience
from odin.executors.kubernetes.replies import Forbidden, Missing, Unreachable
from odin.executors.kubernetes.sights import Waits
from odin.model.ids import AttemptId
from odin.model.reports import Reason

SILENT = {"conditions": [condition("Ready", "False", "")], "containerStatuses": [container("task", running())]}


class Told:
    """What the cluster tells of events and nodes, changed as a test goes on."""

    def __init__(self) -> None:
        self.events: list[Object] = []
        self.node: Exception | None = None

    async def listed(self, _api: Api, **_: Any) -> tuple[list[Object], str]:
        return self.events, "1"

    async def get(self, _api: Api, _name: str, **_: Any) -> Object:
        if self.node is not None:
            raise self.node
        return {}


class Play:
    """One attempt and what becomes of it."""

    def __init__(self, seen: Object) -> None:
        self.cluster = Told()
        self.body = Body(AttemptId(NAME), api=PODS, kind=POD)
        self.dooms: list[Doom] = []
        self.patience = Patience(self.cluster, self.spawn, doom=self.doom, report=self.report)  # type: ignore[arg-type]
        self.see(seen)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work)

    def doom(self, body: Body, doom: Doom) -> None:
        body.doom = doom
        self.dooms.append(doom)
        self.patience.mind(body)

    def report(self, body: Body) -> None:
        self.patience.mind(body)

    def see(self, seen: Object) -> None:
        seen["metadata"] |= {"uid": "u1"}
        self.body.object = seen
        self.patience.mind(self.body)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.002)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"CONFIG_TIMEOUT_S": 0.05, "SILENT_S": 0.01, "NODE_S": 0.01, "EXAMINED_S": 0.1}.items():
        monkeypatch.setattr(patience, name, seconds)
    monkeypatch.setattr(patience, "LONGEST_SILENCE_S", 0.02)


def play(script: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(script())


def image(seconds: str = "0.05", reason: str = "ImagePullBackOff") -> Object:
    return pod("Pending", waiting(reason, "not found"), metadata={"annotations": {"odin/image-timeout": seconds}})


def test_f22_an_image_is_waited_for_as_long_as_the_task_says() -> None:
    async def script() -> None:
        one = Play(image())
        await one.until(lambda: one.dooms)
        assert one.dooms[0].reason is Reason.IMAGE
        assert "cannot be pulled: not found (for 0.05 s)" in one.dooms[0].message

    play(script)


def test_f22_an_image_that_comes_in_time_is_no_failure() -> None:
    async def script() -> None:
        one = Play(image("0.1"))
        await asyncio.sleep(0.02)
        one.see(image("0.1", "ErrImagePull"))  # the kubelet tries again
        await asyncio.sleep(0.02)
        one.see(pod("Running", running()))
        await asyncio.sleep(0.15)
        assert one.dooms == []

    play(script)


def test_f26_what_is_missing_is_given_up_after_a_while_with_its_name() -> None:
    async def script() -> None:
        one = Play(pod("Pending", waiting("CreateContainerConfigError", 'secret "key" not found')))
        await one.until(lambda: one.dooms)
        assert one.dooms[0].reason is Reason.UNPLACED
        assert 'secret "key" not found' in one.dooms[0].message

    play(script)


def test_f26_what_only_events_tell_is_shown_and_given_up_while_it_lasts() -> None:
    async def script() -> None:
        one = Play(pod("Pending", waiting("ContainerCreating")))
        one.cluster.events = [event("FailedMount", 'secret "key" not found')]
        await one.until(lambda: one.body.hint != Waits())
        assert one.body.sight() == Waits('secret "key" not found', config=True)
        one.cluster.events.append(event("Pulling", "a large image", _now()))
        await one.until(lambda: one.body.hint == Waits())
        await asyncio.sleep(0.1)
        assert one.dooms == []
        one.cluster.events.append(event("FailedMount", "gone again", _now(60)))
        await one.until(lambda: one.dooms)
        assert "gone again" in one.dooms[0].message

    play(script)


def _now(ahead_s: float = 0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=ahead_s)).isoformat()


def test_f25_a_silent_node_is_waited_for_unless_the_task_says_how_long() -> None:
    async def script() -> None:
        one = Play(pod("Running", running(), status=SILENT))
        one.cluster.node = Forbidden("nodes are not ours to read", 403)
        await asyncio.sleep(0.1)
        assert one.dooms == []
        hasty = Play(pod("Running", running(), status=SILENT, metadata={"annotations": {"odin/lost-after": "0.05"}}))
        await hasty.until(lambda: hasty.dooms)
        assert (hasty.dooms[0].reason, hasty.dooms[0].is_lost) == (Reason.NODE_LOST, True)
        assert "lost_after" in hasty.dooms[0].message

    play(script)


def test_f25_a_node_that_is_gone_is_proof_and_an_api_server_that_is_away_is_not() -> None:
    async def script() -> None:
        one = Play(pod("Running", running(), status=SILENT))
        one.cluster.node = Unreachable("no answer")
        await asyncio.sleep(0.05)
        assert one.dooms == []
        one.cluster.node = Missing("not found", 404)
        await one.until(lambda: one.dooms)
        assert one.dooms[0].message == "node n1 is gone"

    play(script)


def test_f25_a_pod_that_was_removed_by_force_from_a_silent_node_is_lost() -> None:
    async def script() -> None:
        deleted = {"deletionTimestamp": "2026-08-01T10:02:00Z", "deletionGracePeriodSeconds": 0}
        one = Play(pod("Running", running(), status=SILENT, metadata=deleted))
        await one.until(lambda: one.dooms)
        assert "by force" in one.dooms[0].message

    play(script)


@pytest.mark.parametrize(
    ("told", "reason"),
    [("Preempted", Reason.PREEMPTED), ("TaintManagerEviction", Reason.NODE_LOST), ("", Reason.DELETED)],
)
def test_f20_who_took_a_pod_away_is_asked_of_its_events(told: str, reason: Reason) -> None:
    async def script() -> None:
        deleted = {"deletionTimestamp": "2026-08-01T10:02:00Z", "deletionGracePeriodSeconds": 1}
        one = Play(pod("Failed", None, metadata=deleted))
        one.cluster.events = [event(told, "by another pod")] if told else []
        await one.until(lambda: one.body.is_examined)
        seen = one.body.sight()
        assert getattr(seen, "reason", None) is reason

    play(script)
