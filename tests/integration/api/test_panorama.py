"""``GET /v1/stream``: every pipeline as it moves, from the first look on and after any gap."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from integration.api.streaming import finish, launch, until
from odin.api import panorama

STREAM = "/v1/stream"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(panorama, "GAP_S", 0.01)


def delete(server, pipeline):
    headers = {"Authorization": f"Bearer {server.house.token('edda')}"}
    assert server.request(f"/v1/pipelines/{pipeline}?db=true", method="DELETE", **headers)[0] == 200


def kinds(follower):
    return [kind for _, kind, _ in follower.events]


def newest(follower):
    """What somebody believes of each pipeline who leaves out what they know."""
    believed = {}
    for _, kind, data in follower.events:
        if kind == "removed":
            believed[data["id"]] = None
        elif kind == "pipeline" and (believed.get(data["id"]) or data)["position"] <= data["position"]:
            believed[data["id"]] = data
    return believed


def outcome(follower, pipeline):
    return (newest(follower).get(pipeline) or {}).get("outcome")


def test_the_stream_of_all_begins_with_what_is_there_and_goes_on_with_what_moves(server, follow):
    first = launch(server)
    follower = follow(server, STREAM).read_until(lambda one: "ready" in kinds(one))
    assert list(newest(follower)) == [first]
    shown = newest(follower)[first]
    assert "tasks" not in shown
    assert sum(shown["taskCounts"].values()) == 2
    assert shown["position"] >= 1
    second = launch(server)
    follower.read_until(lambda one: second in newest(one))
    for name in ("fetch", "train"):
        finish(server, f"{second}--{name}")
    follower.read_until(lambda one: outcome(one, second) == "succeeded")
    assert newest(follower)[second]["taskCounts"] == {"executed": 2}
    delete(server, second)
    follower.read_until(lambda one: newest(one)[second] is None)


def test_ids_of_the_stream_of_all_are_moments_that_never_go_back(server, follow):
    before = int(time.time() * 1000)
    launch(server)
    follower = follow(server, STREAM).read_until(lambda one: "ready" in kinds(one))
    launch(server)
    follower.read_until(lambda one: len(newest(one)) == 2)
    moments = [moment for moment, _, _ in follower.events]
    assert moments == sorted(moments)
    assert before <= moments[0] <= moments[-1] <= int(time.time() * 1000)


def test_the_stream_of_all_resumes_after_a_gap_with_all_that_moved(server, follow, monkeypatch):
    monkeypatch.setattr(panorama, "MARGIN_S", 0.0)
    monkeypatch.setattr(panorama, "ROUND_S", 0.001)
    server.house.push("brief", "x")
    running, ended, removed, old = (
        launch(server),
        launch(server, "brief"),
        launch(server, "brief"),
        launch(server, "brief"),
    )
    finish(server, f"{old}--x")
    until(lambda: server.house.queries.pipeline(old).outcome)
    time.sleep(0.01)
    first = follow(server, STREAM).read_until(lambda one: "ready" in kinds(one))
    last = first.events[-1][0]
    first.close()
    for pipeline in (ended, removed):
        finish(server, f"{pipeline}--x")
        until(lambda pipeline=pipeline: server.house.queries.pipeline(pipeline).outcome)
    delete(server, removed)
    later = launch(server, "brief")
    second = follow(server, STREAM, Last_Event_ID=last).read_until(lambda one: len(newest(one)) == 4)
    assert set(newest(second)) == {running, ended, removed, later}
    assert newest(second)[removed] is None
    assert outcome(second, ended) == "succeeded"
    assert "ready" not in kinds(second)


@pytest.mark.parametrize("given", ["0", "-1", "x", "9" * 15, "9" * 400, "1.5", ""])
def test_an_id_that_says_nothing_or_is_too_old_lists_all_anew(server, follow, given, monkeypatch):
    monkeypatch.setattr("odin.store.overview.MOST", 0)
    server.house.push("brief", "x")
    pipeline = launch(server, "brief")
    finish(server, f"{pipeline}--x")
    until(lambda: server.house.queries.pipeline(pipeline).outcome)
    follower = follow(server, STREAM, Last_Event_ID=given).read_until(lambda one: "ready" in kinds(one))
    assert list(newest(follower)) == [pipeline]


def test_the_stream_of_all_can_be_of_one_job_or_of_one_user(server, follow):
    server.house.push("deep/er", "x")
    mine, other = launch(server, "one"), launch(server, "deep/er")
    of_job = follow(server, f"{STREAM}?job=deep__er").read_until(lambda one: "ready" in kinds(one))
    of_user = follow(server, f"{STREAM}?user=Edda").read_until(lambda one: "ready" in kinds(one))
    of_nobody = follow(server, f"{STREAM}?user=vera").read_until(lambda one: "ready" in kinds(one))
    assert (set(newest(of_job)), set(newest(of_user)), set(newest(of_nobody))) == ({other}, {mine, other}, set())
    finish(server, f"{other}--x")
    of_job.read_until(lambda one: outcome(one, other) == "succeeded")
    delete(server, other)
    for follower in (of_job, of_user, of_nobody):  # of what is gone, nobody knows whose it was
        follower.read_until(lambda one: one.events[-1][1] == "removed")


def test_the_listing_is_read_once_for_all_who_come_at_once(server, follow, monkeypatch):
    launch(server)
    overview = server.house.odin.panorama._overview
    read = []
    by_number = overview.by_number
    monkeypatch.setattr(overview, "by_number", lambda numbers: read.append(1) or by_number(numbers))
    for follower in [follow(server, STREAM) for _ in range(50)]:
        follower.read_until(lambda one: "ready" in kinds(one))
    assert len(read) < 10  # one, or some more on a machine that needs more than two seconds for all


def test_the_stream_of_all_is_kept_alive_and_its_reader_ends_with_the_last_client(server, follow, monkeypatch):
    monkeypatch.setattr("odin.api.channels.BEAT_S", 0.05)
    follower = follow(server, STREAM).read_until(lambda one: one.text.count("\n: ") >= 2)
    follower.close()
    until(lambda: server.house.odin.panorama._view is None)
    assert server.house.services.feed._lookouts == set()


def test_f73_who_watches_one_job_is_told_of_life_while_only_others_move(server, follow, monkeypatch):
    monkeypatch.setattr("odin.api.channels.BEAT_S", 0.3)
    follower = follow(server, f"{STREAM}?user=vera").read_until(lambda one: "ready" in kinds(one))
    begun = len(follower.text)
    moving = threading.Event()

    def keep_moving():
        while not moving.wait(0.05):
            launch(server)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(keep_moving)
        follower.read_until(lambda one: one.text.count("\n: ", begun) >= 2)
        moving.set()
        done.result()
    assert kinds(follower) == ["ready"]


def test_f07_the_stream_of_all_ends_with_a_hint_when_the_server_stops(listening, follow):
    server = listening()
    follower = follow(server, STREAM).read_until(lambda one: "ready" in kinds(one))
    server.stop()
    follower.read_to_end()
    assert "retry: " in follower.text
    assert follower.complete
