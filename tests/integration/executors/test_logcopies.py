"""Copies of pods' logs, with a node that fails in every way that nodes do: reliability.md, F-38."""

from __future__ import annotations

import asyncio
import errno
import os
import re

import pytest

from clusterobjects import NAME
from odin.executors.kubernetes import copyfile, logcopies, logcopy
from odin.executors.kubernetes.copyfile import part_path
from odin.executors.kubernetes.insight import Insight
from odin.executors.kubernetes.logcopies import LogCopies, copy_path
from odin.executors.kubernetes.logs import ClusterLogs
from odin.executors.kubernetes.replies import Missing, Unreachable
from odin.executors.kubernetes.sights import Over
from odin.model.errors import NoContainer, Unavailable
from odin.model.ids import AttemptId
from odin.model.reports import Reason
from podlogs import Node, body, end, pod, until

ATTEMPT = AttemptId(NAME)
WORKERS = {"master-0": {"training.kubeflow.org/replica-type": "master", "training.kubeflow.org/replica-index": "0"}} | {
    f"worker-{rank}": {"training.kubeflow.org/replica-type": "worker", "training.kubeflow.org/replica-index": str(rank)}
    for rank in (0, 1)
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(logcopy, "LOOK_S", 0.01)
    monkeypatch.setattr(logcopies, "LOOK_S", 0.05)
    monkeypatch.setattr(logcopy, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(logcopy, "LONGEST_PAUSE_S", 0.05)


@pytest.fixture
def node():
    return Node()


@pytest.fixture
async def copies(node, tmp_path):
    made = LogCopies(node, tmp_path)
    yield made
    await made.close()
    await asyncio.sleep(0)
    assert node.open == 0, "a stream was left open"


def kept(tmp_path, name=""):
    return copy_path(tmp_path, ATTEMPT, name).read_bytes()


def growing(tmp_path, name=""):
    path = part_path(copy_path(tmp_path, ATTEMPT, name))
    return path.read_bytes() if path.exists() else b""


def random_lines(size):
    return os.urandom(size // 2).hex().encode()


# One pod


@pytest.mark.parametrize("text", [b"", b"\n", b"no end", b"a\nb\n", b"\x00\xff\r\n" * 5000])
async def test_the_copy_is_what_the_pod_wrote_byte_for_byte(node, copies, tmp_path, text):
    made = body(pod(over=True))
    node.add(text=text)
    end(made)
    await copies.finish(made)
    assert kept(tmp_path) == text
    assert not part_path(copy_path(tmp_path, ATTEMPT)).exists()


async def test_a_log_is_copied_while_it_is_written(node, copies, tmp_path):
    made, log = body(pod()), node.add(text=b"before\n")
    copy = copies.follow(made)
    await copy.caught_up.wait()
    assert growing(tmp_path) == b"before\n"
    log.write(b"after\n")
    await until(lambda: growing(tmp_path) == b"before\nafter\n")
    log.end()
    end(made)
    await copies.finish(made)
    assert kept(tmp_path) == b"before\nafter\n"


async def test_f38_cut_connections_cost_and_double_nothing(node, copies, tmp_path):
    made, log = body(pod()), node.add(text=random_lines(5000))
    log.faults = [(1500, Unreachable("cut")), (0, Unreachable("cut")), (4999, None), (3000, Unreachable("cut"))]
    copies.follow(made)
    await until(lambda: not log.faults)
    log.write(b"more\n")
    await until(lambda: growing(tmp_path) == log.text)
    end(made)
    await copies.finish(made)
    assert kept(tmp_path) == log.text


async def test_f38_an_answer_that_ends_early_without_a_word_is_not_taken_for_the_whole(node, copies, tmp_path):
    made, log = body(pod(over=True)), node.add(text=random_lines(300_000))
    log.faults = [(100_000, None)]
    end(made)
    await copies.finish(made)
    assert kept(tmp_path) == log.text


async def test_f38_what_a_node_rotated_away_is_joined_where_it_overlaps(node, copies, tmp_path):
    made, log = body(pod()), node.add(text=random_lines(20_000))
    written = log.text
    copies.follow(made)
    await until(lambda: growing(tmp_path) == written)
    log.rotate(keep=5000)
    log.write(b"after it\n")
    end(made)
    await copies.finish(made)
    assert kept(tmp_path) == written + b"after it\n"


async def test_f38_a_gap_is_marked_and_everything_else_is_there(node, copies, tmp_path):
    made, log = body(pod()), node.add(text=b"first\n" + random_lines(9000))
    written = log.text
    copies.follow(made)
    await until(lambda: growing(tmp_path) == written)
    log.rotate()
    log.write(b"last\n")
    end(made)
    await copies.finish(made)
    assert kept(tmp_path) == written + f"\n[odin: {logcopy.DROPPED}]\nlast\n".encode()


async def test_f38_lines_that_look_alike_are_never_lost_and_the_doubt_is_marked(node, copies, tmp_path):
    made, log = body(pod()), node.add(text=b"tick\n" * 3000)
    copies.follow(made)
    await until(lambda: growing(tmp_path) == log.text)
    log.rotate(keep=10_000)
    log.write(b"tick\n" * 500)
    end(made)
    await copies.finish(made)
    assert kept(tmp_path).count(b"tick\n") >= 3500
    assert logcopy.DOUBTFUL.encode() in kept(tmp_path)


async def test_f38_a_pod_that_is_gone_before_its_log_was_read_leaves_a_mark(node, copies, tmp_path):
    made = body(pod(over=True))
    node.logs[NAME, "task", False] = Missing("pod not found", 404)
    end(made)
    await copies.finish(made)
    assert logcopy.GONE.encode() in kept(tmp_path)


async def test_f38_a_node_that_was_started_anew_and_does_not_know_its_pods_yet_is_waited_for(node, copies, tmp_path):
    made, log = body(pod(over=True)), node.add(text=b"all of it\n")
    end(made)
    node.there = {NAME}
    node.logs[NAME, "task", False] = Missing("pod does not exist", 404)
    with pytest.raises(Unreachable, match="does not know the pod"):
        await copies.finish(made)
    node.logs[NAME, "task", False] = log
    await copies.finish(made)
    assert kept(tmp_path) == b"all of it\n"


async def test_f38_a_pod_that_its_node_has_forgotten_for_good_is_not_waited_for(node, copies, tmp_path, monkeypatch):
    monkeypatch.setattr(logcopy, "FORGOTTEN_S", 0.0)
    made = body(pod(over=True))
    end(made)
    node.there = {NAME}
    node.logs[NAME, "task", False] = Missing("pod does not exist", 404)
    await copies.finish(made)
    assert logcopy.GONE.encode() in kept(tmp_path)


async def test_f38_a_pod_that_was_replaced_is_marked_where_it_ended(node, copies, tmp_path):
    """As a Job does whose queue took its place away."""
    first, second = pod(f"{NAME}-1", over=True), pod(f"{NAME}-2")
    second["metadata"]["creationTimestamp"] = "2026-08-01T11:00:00Z"
    made = body(first, second, kind="Job")
    node.logs[f"{NAME}-1", "task", False] = Missing("pod not found", 404)
    node.add(pod=f"{NAME}-2", text=b"second\n")
    copies.follow(made)
    await until(lambda: growing(tmp_path).endswith(b"second\n"))
    end(made)
    await copies.finish(made)
    mark, new = f"\n[odin: {logcopy.GONE}]\n", f"\n[odin: from here on {NAME}-2, run 1]\n"
    assert kept(tmp_path).decode() == f"{mark}{new}second\n"


async def test_a_pod_that_never_started_has_no_log(copies, tmp_path):
    made = body(pod())
    made.object["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ImagePullBackOff"}}
    made.over = Over(None, Reason.IMAGE)
    await copies.finish(made)
    assert not copy_path(tmp_path, ATTEMPT).exists()


async def test_f38_a_pod_of_which_nobody_knows_whether_it_wrote_has_a_log_that_says_so(copies, tmp_path):
    made = body(pod())
    made.object["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ContainerCreating"}}
    made.over = Over(None, Reason.LOST)
    await copies.finish(made)
    assert kept(tmp_path) == f"\n[odin: {logcopy.GONE}]\n".encode()


async def test_a_node_that_does_not_answer_is_waited_for_and_in_the_end_marked(node, copies, tmp_path):
    made, log = body(pod(over=True)), node.add(text=b"half of it\n")
    end(made)
    log.faults = [(5, Unreachable("no answer")), (5, Unreachable("no answer"))]
    with pytest.raises(Unreachable):
        await copies.finish(made)
    await copies.finish(made, patient=False)
    assert kept(tmp_path) == f"half \n[odin: {logcopy.SILENT}: no answer]\n".encode()


async def test_the_runs_of_a_container_that_was_restarted_follow_one_another(node, copies, tmp_path):
    made = body(pod(restarts=1, over=True))
    node.add(previous=True, text=b"first run\n")
    node.add(text=b"second run\n")
    end(made)
    await copies.finish(made)
    assert kept(tmp_path) == f"first run\n\n[odin: from here on {NAME}, run 2]\nsecond run\n".encode()


async def test_a_log_of_100_mb_is_copied_in_little_memory_and_read_as_often_as_needed(node, copies, tmp_path):
    piece = os.urandom(1 << 20)

    async def log(*_args, **_options):
        log.readings += 1
        for _ in range(100):
            yield piece
            await asyncio.sleep(0)

    log.readings = 0
    node.log = log
    made = body(pod(over=True))
    end(made)
    await copies.finish(made)
    assert copy_path(tmp_path, ATTEMPT).stat().st_size == 100 << 20
    assert log.readings == 2, "once to read it and once to be sure"


# Who wants it


async def test_many_who_ask_at_once_cause_one_reading(node, copies, tmp_path):
    made, log = body(pod(over=True)), node.add(text=b"once\n")
    end(made)
    await asyncio.gather(*(copies.finish(made) for _ in range(50)))
    assert (log.readings, kept(tmp_path)) == (1, b"once\n")


async def test_who_goes_away_takes_nobody_elses_reading_along(node, copies, tmp_path):
    made, log = body(pod(over=True)), node.add(text=random_lines(50_000))
    end(made)
    asking = [asyncio.create_task(copies.finish(made)) for _ in range(3)]
    await until(lambda: log.readings)
    asking[0].cancel()
    await asyncio.gather(*asking[1:])
    assert kept(tmp_path) == log.text


async def test_a_follower_never_keeps_the_end_waiting(node, copies, tmp_path):
    """The stream is half open: its node is gone and nobody says so."""
    made, log = body(pod()), node.add(text=b"all\n")
    copies.follow(made)
    await until(lambda: log.readings == 2 and growing(tmp_path) == b"all\n")
    end(made)
    await asyncio.wait_for(copies.finish(made), 5)
    assert kept(tmp_path) == b"all\n"


async def test_a_server_that_starts_anew_goes_on_with_what_is_there(node, copies, tmp_path):
    made, log = body(pod()), node.add(text=random_lines(5000))
    copies.follow(made)
    await until(lambda: growing(tmp_path) == log.text)
    await copies.close()
    log.write(b"meanwhile\n")
    again = LogCopies(node, tmp_path)
    end(made)
    await again.finish(made)
    assert kept(tmp_path) == log.text


async def test_a_full_disk_costs_time_alone(node, copies, tmp_path, monkeypatch):
    made, log = body(pod()), node.add(text=random_lines(5000))
    copies.follow(made)
    await until(lambda: growing(tmp_path) == log.text)
    real = os.write

    def full(fd, data):
        if os.readlink(f"/proc/self/fd/{fd}").endswith(".part"):
            real(fd, data[:3])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(copyfile.os, "write", full)
    log.write(b"what does not fit\n")
    end(made)
    with pytest.raises(Unreachable, match="No space left"):
        await copies.finish(made)
    monkeypatch.undo()
    await copies.finish(made)
    assert kept(tmp_path) == log.text


async def test_nothing_is_left_open_or_remembered_once_all_is_kept(node, copies, tmp_path):
    made = body(pod())
    node.add(text=b"x\n").end()
    before = len(os.listdir("/proc/self/fd"))
    copies.follow(made)
    await until(lambda: growing(tmp_path) == b"x\n")
    end(made)
    await copies.finish(made)
    assert len(os.listdir("/proc/self/fd")) == before
    assert (copies._copies, copies._finishing) == ({}, {})


async def test_what_runs_for_long_is_copied_by_itself_and_no_more_than_may_be(node, copies, tmp_path, monkeypatch):
    monkeypatch.setattr(logcopies, "AUTOMATIC", 3)
    bodies = {}
    for number in range(5):
        name = f"{NAME}--{number + 2}"
        node.add(pod=name, text=b"text\n")
        made = body(pod(name))
        made.attempt = AttemptId(name)
        bodies[name] = made
    watching = asyncio.create_task(copies.watch(bodies))
    await until(lambda: len(list(tmp_path.rglob("*.part"))) == 3)
    await asyncio.sleep(0.05)
    assert len(list(tmp_path.rglob("*.part"))) == 3
    watching.cancel()


async def test_f38_the_log_of_a_pod_that_was_removed_by_force_is_closed_with_a_mark(node, copies, tmp_path):
    made, log = body(pod()), node.add(text=b"so far\n")
    copies.follow(made)
    await until(lambda: growing(tmp_path) == b"so far\n")
    node.logs[NAME, "task", False] = Missing("pod not found", 404)
    log.end()
    end(made)
    await copies.finish(made)
    assert kept(tmp_path) == f"so far\n\n[odin: {logcopy.GONE}]\n".encode()


async def test_f38_a_copy_that_nobody_can_go_on_with_is_closed_with_a_mark(node, copies, tmp_path):
    made = body(pod())
    node.add(text=b"so far\n")
    copies.follow(made)
    await until(lambda: growing(tmp_path) == b"so far\n")
    await copies.close()
    for _ in range(2):
        await copies.abandon(made.attempt)
        assert kept(tmp_path) == f"so far\n\n[odin: {logcopy.GONE}]\n".encode()


async def test_where_too_many_are_followed_the_others_are_looked_at_now_and_then(node, copies, tmp_path):
    copies._streams.left = 0
    made, log = body(pod()), node.add(text=b"one\n")
    copies.follow(made)
    await until(lambda: growing(tmp_path) == b"one\n")
    log.write(b"two\n")
    await until(lambda: growing(tmp_path) == b"one\ntwo\n")


# Several pods


def whole(node, **texts):
    pods = []
    for name, labels in WORKERS.items():
        node.add(f"{NAME}-{name}", "pytorch", text=texts.get(name.replace("-", "_"), b""))
        pods.append(pod(f"{NAME}-{name}", "pytorch", labels=labels))
    return body(*pods, kind="PyTorchJob")


def of(merged, name):
    return re.findall(rf"^\[{name}\] (.*)$", merged.decode(), re.MULTILINE)


async def test_the_lines_of_several_pods_stand_behind_their_names_each_once(node, copies, tmp_path):
    made = whole(node, master_0=b"m1\nm2\n", worker_0=b"w\n" * 2, worker_1=b"no end")
    end(made)
    await copies.finish(made)
    merged = kept(tmp_path)
    assert {name: of(merged, name) for name in WORKERS} == {
        "master-0": ["m1", "m2"],
        "worker-0": ["w", "w"],
        "worker-1": ["no end"],
    }
    assert len(merged.splitlines()) == 5


async def test_lines_come_as_they_are_written_and_are_never_mixed(node, copies, tmp_path):
    made = whole(node)
    logs = {name: node.logs[f"{NAME}-{name}", "pytorch", False] for name in WORKERS}
    copies.follow(made)
    for number in range(200):
        for name, log in logs.items():
            log.write(f"{number} of {name}".encode())
        await asyncio.sleep(0)
        for log in logs.values():
            log.write(b"\n")
    await until(lambda: growing(tmp_path).count(b"\n") == 600)
    end(made)
    await copies.finish(made)
    for name in WORKERS:
        assert of(kept(tmp_path), name) == [f"{number} of {name}" for number in range(200)]


async def test_a_line_without_an_end_is_cut_and_put_together_again(node, copies, tmp_path):
    long = random_lines(200_000)
    made = whole(node, master_0=b"a\n" + long + b"\nb\n")
    end(made)
    await copies.finish(made)
    insight = Insight({}, copies, tmp_path)
    path = await insight.log(ATTEMPT, "master-0")
    assert path.read_bytes() == b"a\n" + long + b"\nb\n"


@pytest.mark.parametrize("cut", [0, 1, 7, 12])
async def test_a_merged_log_goes_on_after_a_crash_in_the_middle_of_a_line(node, copies, tmp_path, cut):
    made = whole(node, master_0=b"m1\nm2\n", worker_0=b"w1\nw2\nw3\n", worker_1=b"x\n")
    copies.follow(made)
    await until(lambda: growing(tmp_path).count(b"\n") == 6)
    await copies.close()
    path = part_path(copy_path(tmp_path, ATTEMPT))
    path.write_bytes(path.read_bytes()[: len(growing(tmp_path)) - cut])
    again = LogCopies(node, tmp_path)
    end(made)
    await again.finish(made)
    found = {name: of(kept(tmp_path), name) for name in WORKERS}
    assert found == {"master-0": ["m1", "m2"], "worker-0": ["w1", "w2", "w3"], "worker-1": ["x"]}


async def test_f38_a_worker_that_is_gone_is_marked_and_the_others_are_whole(node, copies, tmp_path):
    made = whole(node, master_0=b"m\n", worker_0=b"w\n")
    node.logs[f"{NAME}-worker-1", "pytorch", False] = Missing("pod not found", 404)
    end(made)
    await copies.finish(made)
    assert f"[worker-1!] odin: {logcopy.GONE}\n".encode() in kept(tmp_path)
    assert (of(kept(tmp_path), "master-0"), of(kept(tmp_path), "worker-0")) == (["m"], ["w"])


# What is asked for


async def read(logs, **options):
    data, size = await logs.read(ATTEMPT, offset=0, limit=1 << 20)
    assert len(data) == size
    return data


@pytest.fixture
def asked(copies, tmp_path):
    """What reads through an insight that knows these attempts."""

    def make(*bodies):
        insight = Insight({each.attempt: each for each in bodies}, copies, tmp_path)
        return ClusterLogs(tmp_path, insight.log)

    return make


async def test_reading_gives_what_was_written_so_far_at_once(node, asked):
    made, log = body(pod()), node.add(text=b"already\n")
    logs = asked(made)
    assert await read(logs) == b"already\n"
    log.write(b"more\n")
    await until(lambda: node.open)
    end(made)
    log.end()
    assert await read(logs) == b"already\nmore\n"


async def test_one_pod_of_several_is_read_alone_while_it_runs_and_after(node, asked, copies):
    made = whole(node, master_0=b"m\n", worker_1=b"w1\nw1\n")
    assert await read(asked(made).of("worker-1")) == b"w1\nw1\n"
    end(made)
    await copies.finish(made)
    made.is_kept = True
    assert await read(asked(made).of("worker-1")) == b"w1\nw1\n"
    assert await read(asked().of("master-0")) == b"m\n"


async def test_a_sidecar_is_left_out_and_kept_under_its_name(node, asked, copies, tmp_path):
    made = body(pod(NAME, "task", "proxy"))
    node.add(text=b"mine\n")
    node.add(container="proxy", text=b"the proxy's\n")
    assert await read(asked(made)) == b"mine\n"
    end(made)
    await copies.finish(made)
    assert [await read(asked().of(name)) for name in (None, "task", "proxy")] == [
        b"mine\n",
        b"mine\n",
        b"the proxy's\n",
    ]


@pytest.mark.parametrize("name", ["wrker-1", "../../secret", "a/b/c", "", "x" * 300])
async def test_a_wrong_name_is_answered_with_those_that_there_are(node, asked, copies, name):
    made = whole(node)
    with pytest.raises(NoContainer, match="it has master-0, worker-0, worker-1"):
        await read(asked(made).of(name))
    end(made)
    await copies.finish(made)
    with pytest.raises(NoContainer, match="it has master-0, worker-0, worker-1"):
        await read(asked().of(name))


async def test_a_log_that_cannot_be_had_now_is_not_taken_for_empty(node, asked):
    made = body(pod())
    node.logs[NAME, "task", False] = Unreachable("the node is away")
    with pytest.raises(Unavailable, match="the node is away"):
        await read(asked(made))
