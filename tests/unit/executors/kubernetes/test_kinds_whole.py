"""What an object and its pods say together: since when, what hinders, who failed first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterobjects import (
    END_AT,
    MADE_AT,
    NAME,
    START,
    START_AT,
    condition,
    pod,
    running,
    seen,
    terminated,
    v1,
    waiting,
)
from odin.executors.kubernetes.kinds.gang import GANG
from odin.executors.kubernetes.kinds.job import JOB
from odin.executors.kubernetes.kinds.kubeflow import ELASTIC, MPI, PYTORCH
from odin.executors.kubernetes.kinds.pod import POD
from odin.executors.kubernetes.kinds.ray import RAY
from odin.executors.kubernetes.kinds.whole import left_behind, main_pod, read, taken
from odin.executors.kubernetes.podstatus import gone
from odin.executors.kubernetes.sights import Over, Runs, Waits
from odin.model.reports import Reason

DELETED = {"deletionTimestamp": "2026-08-01T10:01:30Z", "deletionGracePeriodSeconds": 30}
EVICTED = {"reason": "Evicted", "message": "low on memory"}


def job(*conditions, **status):
    return seen("PyTorchJob", conditions=list(conditions), **status)


def replica(role, phase, state=None, *, index=0, **fields):
    labels = {"training.kubeflow.org/replica-type": role, "training.kubeflow.org/replica-index": str(index)}
    return pod(phase, state, name=f"{NAME}-{role}-{index}", main="pytorch", labels=labels, **fields)


RUNNING, SUCCEEDED, FAILED = v1("Running"), v1("Succeeded"), v1("Failed", message="1 Worker replica(s) failed")


def test_a_pod_by_itself_is_read_as_a_pod():
    assert read(POD, pod("Running", running())) == Runs(START_AT)
    assert read(POD, pod("Succeeded", terminated(0)), [pod("Succeeded", terminated(0))]).code == 0


def test_an_object_without_pods_says_what_it_says():
    assert read(PYTORCH, job(RUNNING)) == Runs(MADE_AT)
    assert read(PYTORCH, job()) == Waits()


def test_it_runs_since_its_main_pod_does():
    later = running("2026-08-01T10:00:50Z")
    pods = [replica("worker", "Running", running(START)), replica("master", "Running", later)]
    assert read(PYTORCH, job(RUNNING), pods) == Runs(START_AT + 45)
    assert read(PYTORCH, job(), pods) == Runs(START_AT + 45)  # the operator has not said so yet


@pytest.mark.parametrize("top", [job(), job(v1("Created"))])
def test_f22_what_hinders_any_pod_hinders_the_whole(top):
    pods = [
        replica("master", "Pending", waiting("ContainerCreating")),
        replica("worker", "Pending", waiting("CreateContainerConfigError", 'secret "a" not found')),
        replica("worker", "Pending", waiting("ErrImagePull", "denied"), index=1),
    ]
    assert read(PYTORCH, top, pods).image
    assert read(PYTORCH, top, pods[:2]).config


def test_what_hinders_a_worker_is_told_while_the_master_runs():
    pods = [replica("master", "Running", running()), replica("worker", "Pending", waiting("ErrImagePull", "denied"))]
    seen_ = read(PYTORCH, job(RUNNING), pods)
    assert (seen_.at, "denied" in seen_.why) == (START_AT, True)


def test_success_is_that_of_the_object_even_while_workers_run():
    pods = [replica("master", "Succeeded", terminated(0)), replica("worker", "Running", running())]
    assert read(PYTORCH, job(RUNNING), pods) == Runs(START_AT)
    assert read(PYTORCH, job(SUCCEEDED), pods) == Over(0, Reason.EXIT, "", START_AT, END_AT)


def test_f37_a_failure_has_the_code_of_the_pod_that_failed_first():
    pods = [
        replica("master", "Failed", terminated(1, at="2026-08-01T10:01:04Z")),
        replica("worker", "Failed", terminated(7, at="2026-08-01T10:01:01Z", message="loss is NaN")),
        replica("worker", "Failed", terminated(143, at="2026-08-01T10:01:05Z"), index=1),
    ]
    over = read(PYTORCH, job(FAILED), pods)
    assert (over.code, over.reason) == (7, Reason.EXIT)
    assert over.message == f"pod {NAME}-worker-0: loss is NaN"


def test_f37_a_pod_that_was_removed_because_another_failed_is_not_to_blame():
    pods = [
        replica("master", "Failed", terminated(143, at="2026-08-01T10:01:01Z"), metadata=DELETED),
        replica("worker", "Failed", terminated(3, at="2026-08-01T10:01:05Z")),
    ]
    assert read(PYTORCH, job(FAILED), pods).code == 3


def test_f20_a_whole_that_failed_because_a_worker_was_evicted_was_evicted():
    pods = [replica("master", "Running", running()), replica("worker", "Failed", terminated(137), status=EVICTED)]
    over = read(PYTORCH, job(FAILED), pods)
    assert (over.reason, "evicted it: low on memory" in over.message) == (Reason.EVICTED, True)


def test_a_job_of_one_pod_ends_as_its_pod_did():
    failed = seen("Job", conditions=[condition("Failed", reason="BackoffLimitExceeded", message="limit")])
    over = read(JOB, failed, [pod("Failed", terminated(137, "OOMKilled"), name="x")])
    assert over == Over(137, Reason.OOM, "it used more memory than there was", START_AT, END_AT)
    assert read(JOB, failed, [pod("Failed", terminated(2), name="x")]).message == ""


def test_a_failure_that_no_pod_explains_is_told_as_the_controller_does():
    assert read(PYTORCH, job(FAILED)).message == "1 Worker replica(s) failed"


def test_a_limit_of_time_stays_one_whatever_the_pods_returned():
    late = v1("Failed", reason="DeadlineExceeded", message="too long")
    over = read(PYTORCH, job(late), [replica("master", "Failed", terminated(143))])
    assert (over.reason, over.started_at) == (Reason.TIMEOUT, START_AT)


def test_a_suspended_object_waits_though_pods_still_end():
    held = seen("PyTorchJob", {"runPolicy": {"suspend": True}}, conditions=[v1("Suspended", message="is suspended")])
    pods = [replica("master", "Running", running(), metadata=DELETED)]
    assert read(PYTORCH, held, pods) == Waits("suspended: is suspended", suspended=True)


@pytest.mark.parametrize(("stopping", "reason"), [(False, Reason.DELETED), (True, Reason.STOPPED)])
def test_f21_an_object_that_is_removed_is_over_once_no_pod_of_it_runs(stopping, reason):
    gone = job(RUNNING)
    gone["metadata"] |= DELETED
    alive = [replica("master", "Running", running())]
    told = "Terminating" if stopping else "Terminating: somebody deleted it"
    assert read(PYTORCH, gone, alive, stopping=stopping) == Runs(START_AT, told)
    ended = [replica("master", "Failed", terminated(143))]
    over = read(PYTORCH, gone, ended, stopping=stopping)
    assert (over.code, over.reason, over.started_at) == (None, reason, START_AT)


def test_f21_a_job_that_fails_because_its_pods_are_removed_with_it_was_deleted():
    """As the Job controller of 1.20 writes it after ``kubectl delete --cascade=foreground``."""
    failed = condition("Failed", reason="BackoffLimitExceeded", message="Job has reached the specified backoff limit")
    gone_ = seen("Job", conditions=[failed], startTime=START)
    gone_["metadata"] |= {"deletionTimestamp": "2026-08-01T10:01:03Z", "deletionGracePeriodSeconds": 0}
    assert read(JOB, gone_).reason is Reason.DELETED
    assert read(JOB, gone_, [gone(pod("Running", running(), name="x", metadata=DELETED))]).reason is Reason.DELETED
    gone_["metadata"]["deletionTimestamp"] = "2026-08-01T10:02:00Z"
    assert read(JOB, gone_).reason is Reason.EXIT


def test_f21_a_pod_of_a_job_that_somebody_deleted():
    failed = seen("Job", conditions=[condition("Failed", reason="BackoffLimitExceeded")])
    over = read(JOB, failed, [gone(pod("Running", running(), name="x", metadata=DELETED))])
    assert (over.code, over.reason, over.message) == (None, Reason.DELETED, "somebody deleted its pod")


def test_f21_an_object_that_is_removed_with_its_pods_is_not_over_before_they_are_gone():
    gone = job(RUNNING)
    gone["metadata"] |= DELETED | {"finalizers": ["foregroundDeletion", "odin/attempt"]}
    assert read(PYTORCH, gone, stopping=True) == Runs(MADE_AT, "Terminating")
    gone["metadata"]["finalizers"] = ["odin/attempt"]
    assert read(PYTORCH, gone, stopping=True) == Over(None, Reason.STOPPED, "it was stopped")


def test_f21_what_runs_of_a_deleted_object_is_left_behind_where_nobody_collects_it():
    whole = job(RUNNING)
    runs = replica("master", "Running", running())
    goes = replica("worker", "Running", running(), index=0) | {}
    goes["metadata"] = goes["metadata"] | DELETED
    ended = replica("worker", "Failed", terminated(1), index=1)
    whole["metadata"] |= DELETED | {"finalizers": ["foregroundDeletion", "odin/attempt"]}
    assert left_behind(PYTORCH, whole, [runs, goes, ended]) == []
    whole["metadata"]["finalizers"] = ["odin/attempt"]
    assert left_behind(PYTORCH, whole, [runs, goes, ended]) == [runs]


def test_of_several_main_pods_the_newest_counts():
    labels = {"batch.kubernetes.io/job-completion-index": "0"}
    old = pod("Failed", terminated(1), name="old", labels=labels)
    new = pod("Running", running(), name="a", labels=labels, metadata={"creationTimestamp": START})
    assert main_pod(GANG, [new, old]) is new
    assert main_pod(GANG, []) is None


# --- any order

STATES = st.sampled_from(
    [("Pending", waiting("ErrImagePull", "x")), ("Running", running()), ("Succeeded", terminated(0)),
     ("Failed", terminated(2)), ("Failed", terminated(137, "OOMKilled")), ("Failed", None)]
)  # fmt: skip


@given(
    st.data(),
    st.lists(STATES, max_size=4),
    st.sampled_from([(), (RUNNING,), (FAILED,), (SUCCEEDED,), (FAILED, SUCCEEDED)]),
)
def test_any_order_of_pods_gives_the_same_sight(data, states, conditions):
    pods = [replica("worker" if k else "master", *state, index=k) for k, state in enumerate(states)]
    assert read(PYTORCH, job(*conditions), pods) == read(PYTORCH, job(*conditions), data.draw(st.permutations(pods)))


# What is taken away


HELD = {"runPolicy": {"suspend": True}}
THERE, AWAY = replica("master", "Running", running()), replica("worker", "Running", running(), metadata=DELETED)


def test_p3_a_pod_that_is_taken_away_while_it_runs_is_told_with_who_took_it():
    told = taken(PYTORCH, job(RUNNING), [THERE, AWAY])
    assert (told[0], told[1].reason) == (AWAY, Reason.DELETED)
    evicted = AWAY | {"status": {**AWAY["status"], **EVICTED}}
    assert taken(PYTORCH, job(RUNNING), [gone(evicted)])[1].reason is Reason.EVICTED


@pytest.mark.parametrize(
    ("kind", "top", "lost"),
    [
        (PYTORCH, job(RUNNING), THERE),
        (PYTORCH, job(RUNNING), replica("worker", "Succeeded", terminated(0), metadata=DELETED)),
        (PYTORCH, job(RUNNING), replica("worker", "Pending", waiting("ImagePullBackOff"), metadata=DELETED)),
        (PYTORCH, job(SUCCEEDED), AWAY),
        (PYTORCH, job(FAILED), AWAY),
        (PYTORCH, seen("PyTorchJob", HELD), AWAY),
        (PYTORCH, job(v1("Suspended")), AWAY),
        (PYTORCH, job(v1("Suspended", "False", at="2026-08-01T10:01:10Z")), AWAY),
        (PYTORCH, {**job(RUNNING), "metadata": {"name": NAME, **DELETED}}, AWAY),
        (ELASTIC, job(RUNNING), AWAY),
        (MPI, job(RUNNING), AWAY),
        (RAY, seen("RayJob", jobDeploymentStatus="Running"), AWAY),
        (POD, AWAY, AWAY),
    ],
    ids=[
        "runs",
        "had ended",
        "had not begun",
        "succeeded",
        "failed",
        "suspended",
        "says that it is suspended",
        "was resumed since",
        "deleted itself",
        "elastic",
        "no launcher",
        "Ray's own",
        "a pod alone",
    ],
)
def test_p3_what_a_whole_does_to_its_pods_itself_is_none_of_that(kind, top, lost):
    assert taken(kind, top, [lost]) is None
