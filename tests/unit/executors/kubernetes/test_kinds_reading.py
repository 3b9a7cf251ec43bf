"""What each kind's object says, through the sequences of status that its operator goes through."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterobjects import END, END_AT, MADE_AT, START, START_AT, condition, seen, v1
from odin.executors.kubernetes.kinds.gang import GANG
from odin.executors.kubernetes.kinds.job import JOB
from odin.executors.kubernetes.kinds.jobset import JOBSET, TRAINJOB
from odin.executors.kubernetes.kinds.kubeflow import ELASTIC, MPI, PYTORCH, TF
from odin.executors.kubernetes.kinds.ray import RAY
from odin.executors.kubernetes.sights import Over, Runs, Sight, Waits
from odin.model.reports import Reason

FAMILY = (PYTORCH, ELASTIC, TF, MPI)
BATCH = (JOB, GANG)
Status = dict[str, Any]


def family(*conditions: Status, **fields: Any) -> Status:
    return {"conditions": list(conditions), "startTime": START, **fields}


def words(sights: Sequence[Sight]) -> list[str]:
    """The course of an attempt: each step in one word."""
    return [word(sight) for sight in sights]


def word(sight: Sight) -> str:
    if isinstance(sight, Over):
        return "done" if sight == Over(0, Reason.EXIT, "", sight.started_at, sight.ended_at) else sight.reason.value
    if isinstance(sight, Runs):
        return "runs"
    return "suspended" if sight.suspended else "config" if sight.config else "waits"


def course(kind: Any, steps: Sequence[Status], spec: Status | None = None) -> list[str]:
    return words([kind.read(seen(kind.apis[0].kind, spec, **step)) for step in steps])


# --- kubeflow.org: Created, Running, Restarting, Suspended, Succeeded, Failed

CREATED = v1("Created", reason="JobCreated", message="is created.")
RUNNING = v1("Running", reason="JobRunning", message="is running.")
RAN = RUNNING | {"status": "False"}
SUCCEEDED = v1("Succeeded", reason="JobSucceeded", message="successfully completed.")
FAILED = v1("Failed", reason="JobFailed", message="is failed because 1 Worker replica(s) failed.")
RESTARTING = v1("Restarting", reason="JobRestarting", message="is restarting because 1 Worker replica(s) failed.")
SUSPENDED = v1("Suspended", reason="JobSuspended", message="PyTorchJob is suspended.")
RESUMED = v1("Suspended", "False", reason="JobResumed", message="PyTorchJob is resumed.")


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.name)
def test_a_job_of_kubeflow_that_succeeds(kind):
    steps = [{}, family(CREATED), family(CREATED, RUNNING), family(CREATED, RAN, SUCCEEDED, completionTime=END)]
    assert course(kind, steps) == ["waits", "waits", "runs", "done"]
    assert kind.read(seen("x", **steps[2])) == Runs(START_AT)
    assert kind.read(seen("x", **steps[3])) == Over(0, Reason.EXIT, "", START_AT, END_AT)


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.name)
def test_a_job_of_kubeflow_that_fails(kind):
    over = kind.read(seen("x", **family(CREATED, RAN, FAILED)))
    message = "is failed because 1 Worker replica(s) failed"
    assert over == Over(None, Reason.EXIT, message, START_AT, END_AT)


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.name)
def test_a_condition_that_is_false_is_none(kind):
    assert course(kind, [family(CREATED, RUNNING, SUCCEEDED | {"status": "False"}, FAILED | {"status": "False"})]) == [
        "runs"
    ]


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.name)
def test_restarting_is_no_failure(kind):
    """As an operator's own restart policy has it; Running turns False meanwhile."""
    steps = [family(CREATED, RUNNING), family(CREATED, RAN, RESTARTING), family(CREATED, RUNNING)]
    assert course(kind, steps) == ["runs", "runs", "runs"]
    assert "restarting because" in kind.read(seen("x", **steps[1])).why


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.name)
def test_a_job_of_kubeflow_that_a_queue_holds_back_lets_in_and_takes_out(kind):
    held, free = {"runPolicy": {"suspend": True}}, {"runPolicy": {"suspend": False}}
    assert course(kind, [{}, family(CREATED), family(CREATED, SUSPENDED)], held) == ["suspended"] * 3
    assert course(kind, [family(CREATED, RESUMED), family(CREATED, RESUMED, RUNNING)], free) == ["waits", "runs"]
    assert course(kind, [family(CREATED, RUNNING, RESUMED), family(CREATED, RAN, SUSPENDED)], held) == ["suspended"] * 2
    done = family(CREATED, RESUMED, RAN, SUCCEEDED)
    assert course(kind, [done, done], free) == ["done", "done"]


def test_what_a_suspended_job_says_is_told():
    held = {"runPolicy": {"suspend": True}}
    assert PYTORCH.read(seen("PyTorchJob", held)).why == "suspended: it waits to be let in"
    assert PYTORCH.read(seen("PyTorchJob", held, **family(SUSPENDED))).why == "suspended: PyTorchJob is suspended"


def test_a_job_that_was_over_when_its_queue_suspended_it_stays_over():
    held = {"runPolicy": {"suspend": True}}
    assert course(PYTORCH, [family(RAN, SUCCEEDED, SUSPENDED)], held) == ["done"]


def test_a_deadline_that_the_operator_kept_is_a_timeout():
    late = v1("Failed", reason="DeadlineExceeded", message="Job has failed because it was active too long")
    assert course(PYTORCH, [family(late)]) == ["timeout"]


# --- MPIJob

EVICTED = v1("Failed", reason="MPIJobEvicted", message="1/2 workers are evicted")
LAUNCHER = {"Launcher": {"active": 1}, "Worker": {"active": 1, "failed": 1}}


def test_an_mpi_job_whose_worker_was_evicted_and_whose_launcher_succeeds_all_the_same():
    steps = [
        family(CREATED, RUNNING, replicaStatuses={"Launcher": {"active": 1}, "Worker": {"active": 2}}),
        family(CREATED, RUNNING, EVICTED, replicaStatuses=LAUNCHER),
        family(CREATED, RAN, EVICTED, SUCCEEDED, replicaStatuses={"Launcher": {"succeeded": 1}}),
        family(CREATED, RAN, EVICTED | {"status": "False"}, SUCCEEDED, completionTime=END),
    ]
    assert course(MPI, steps) == ["runs", "runs", "done", "done"]
    assert MPI.read(seen("MPIJob", **steps[1])) == Runs(START_AT, "1/2 workers are evicted")


def test_an_mpi_job_whose_worker_was_evicted_and_whose_launcher_then_fails():
    failed = v1("Failed", reason="MPIJobFailed", message="mpirun was aborted")
    assert course(MPI, [family(EVICTED, replicaStatuses=LAUNCHER), family(failed, completionTime=END)]) == [
        "runs",
        "exit",
    ]


def test_an_mpi_job_that_is_over_because_it_was_evicted():
    assert course(MPI, [family(EVICTED, completionTime=END), family(EVICTED)]) == ["evicted", "evicted"]


# --- batch/v1

COMPLETE = condition("Complete", message="Reached expected number of succeeded pods")


def job_failed(reason: str) -> Status:
    return condition("Failed", reason=reason, message="Job has reached the specified backoff limit")


@pytest.mark.parametrize("kind", BATCH, ids=lambda kind: kind.name)
def test_a_batch_job_that_succeeds(kind):
    """The last three steps are those of 1.31 and up: the pods end between the two conditions."""
    steps = [
        {},
        {"startTime": START, "active": 1},
        {"startTime": START, "active": 1, "ready": 1},
        {"startTime": START, "succeeded": 1, "conditions": [condition("SuccessCriteriaMet")]},
        {"startTime": START, "succeeded": 1, "conditions": [condition("SuccessCriteriaMet"), COMPLETE]},
    ]
    assert course(kind, steps) == ["waits", "waits", "runs", "waits", "done"]


def test_a_batch_job_tells_when_it_was_over():
    done = seen("Job", startTime=START, completionTime="2026-08-01T10:01:00Z", conditions=[COMPLETE])
    assert JOB.read(done) == Over(0, Reason.EXIT, "", START_AT, END_AT - 5)


@pytest.mark.parametrize("kind", BATCH, ids=lambda kind: kind.name)
def test_a_batch_job_with_failed_pods_has_not_failed_before_it_says_so(kind):
    target = condition("FailureTarget", reason="BackoffLimitExceeded")
    steps = [
        {"startTime": START, "active": 1, "failed": 1},
        {"startTime": START, "failed": 1, "conditions": [target]},
        {"startTime": START, "failed": 1, "conditions": [target, job_failed("BackoffLimitExceeded")]},
    ]
    assert course(kind, steps) == ["waits", "waits", "exit"]


@pytest.mark.parametrize(
    ("reason", "end"), [("BackoffLimitExceeded", "exit"), ("DeadlineExceeded", "timeout"), ("PodFailurePolicy", "exit")]
)
def test_why_a_batch_job_failed(reason, end):
    assert course(JOB, [{"conditions": [job_failed(reason)]}]) == [end]


@pytest.mark.parametrize("kind", BATCH, ids=lambda kind: kind.name)
def test_a_batch_job_that_a_queue_holds_back_lets_in_and_takes_out(kind):
    suspended = condition("Suspended", reason="JobSuspended", message="Job suspended")
    resumed = condition("Suspended", "False", "JobResumed", "Job resumed")
    held, free = {"suspend": True}, {"suspend": False}
    assert course(kind, [{}, {"conditions": [suspended]}], held) == ["suspended"] * 2
    assert course(kind, [{"startTime": START, "ready": 1, "conditions": [resumed]}], free) == ["runs"]
    assert course(kind, [{"active": 1, "ready": 1, "conditions": [resumed]}], held) == ["suspended"]
    assert course(kind, [{"conditions": [resumed, COMPLETE]}], free) == ["done"]


# --- JobSet


def group(**counts: int) -> Status:
    return {"name": "node", "ready": 0, "active": 0, "succeeded": 0, "failed": 0, "suspended": 0, **counts}


def test_a_job_set_that_succeeds():
    done = condition("Completed", reason="AllJobsCompleted", message="jobset completed successfully")
    steps = [
        {},
        {"replicatedJobsStatus": [group(active=1)]},
        {"replicatedJobsStatus": [group(active=1, ready=1)]},
        {"replicatedJobsStatus": [group(succeeded=1)], "conditions": [done], "terminalState": "Completed"},
    ]
    assert course(JOBSET, steps) == ["waits", "waits", "runs", "done"]
    assert JOBSET.read(seen("JobSet", **steps[2])) == Runs(MADE_AT)


@pytest.mark.parametrize(("state", "end"), [("Completed", "done"), ("Failed", "exit")])
def test_the_terminal_state_of_a_job_set_is_enough(state, end):
    assert course(JOBSET, [{"terminalState": state}]) == [end]


def test_a_job_set_that_fails_says_which_job_did():
    failed = condition("Failed", reason="FailedJobs", message="jobset failed due to one or more job failures")
    over = JOBSET.read(seen("JobSet", conditions=[failed], terminalState="Failed"))
    assert over == Over(None, Reason.EXIT, "jobset failed due to one or more job failures", None, END_AT)


def test_a_job_set_that_its_failure_policy_starts_again_is_not_over():
    again = {"restarts": 2, "replicatedJobsStatus": [group(active=1)]}
    assert JOBSET.read(seen("JobSet", **again)) == Waits("started again 2 times by its failure policy")
    assert course(JOBSET, [again | {"replicatedJobsStatus": [group(ready=1)]}]) == ["runs"]


def test_a_job_set_that_is_starting_in_order_is_not_over():
    starting = [condition("StartupPolicyInProgress"), condition("StartupPolicyCompleted", "False")]
    assert course(JOBSET, [{"conditions": starting}]) == ["waits"]


def test_a_job_set_that_a_queue_holds_back_lets_in_and_takes_out():
    suspended = condition("Suspended", reason="SuspendedJobs", message="jobset is suspended")
    resumed = condition("Suspended", "False", "ResumeJobs", "jobset is resumed")
    held = [{"conditions": [suspended], "replicatedJobsStatus": [group(suspended=1)]}]
    assert course(JOBSET, held, {"suspend": True}) == ["suspended"]
    assert course(JOBSET, [{"conditions": [resumed], "replicatedJobsStatus": [group(ready=1)]}]) == ["runs"]


# --- TrainJob


def test_a_train_job_that_succeeds():
    done = condition("Complete", reason="AllJobsCompleted", message="jobset completed successfully")
    ready = [group(name="dataset-initializer", succeeded=1), group(active=1, ready=1)]
    steps = [
        {},
        {"jobsStatus": [group(active=1)]},
        {"jobsStatus": ready},
        {"jobsStatus": ready, "conditions": [done]},
    ]
    assert course(TRAINJOB, steps) == ["waits", "waits", "runs", "done"]


def test_a_train_job_whose_initializer_is_ready_does_not_run_yet():
    assert course(TRAINJOB, [{"jobsStatus": [group(name="model-initializer", ready=1)]}]) == ["waits"]


def test_a_failure_that_trainer_takes_back_is_no_end():
    said = 'must be ClusterTrainingRuntime or TrainingRuntime: trainingruntimes "x" not found'
    unsupported = condition("Failed", reason="TrainingRuntimeNotSupported", message=said)
    steps = [{"conditions": [unsupported]}, {"conditions": []}, {"jobsStatus": [group(ready=1)]}]
    assert course(TRAINJOB, steps) == ["config", "waits", "runs"]
    assert TRAINJOB.read(seen("TrainJob", **steps[0])) == Waits(said, config=True)


@pytest.mark.parametrize(("reason", "end"), [("DeadlineExceeded", "timeout"), ("FailedJobs", "exit")])
def test_a_failure_that_stays(reason, end):
    assert course(TRAINJOB, [{"conditions": [condition("Failed", reason=reason)]}]) == [end]


def test_a_train_job_that_a_queue_holds_back_lets_in_and_takes_out():
    suspended = condition("Suspended", reason="Suspended", message="TrainJob is suspended")
    resumed = condition("Suspended", "False", "Resumed", "TrainJob is resumed")
    assert course(TRAINJOB, [{}, {"conditions": [suspended]}], {"suspend": True}) == ["suspended"] * 2
    assert course(TRAINJOB, [{"conditions": [resumed], "jobsStatus": [group(ready=1)]}]) == ["runs"]


# --- RayJob


def ray(deployment: str, job: str = "", **fields: Any) -> Status:
    return {"jobDeploymentStatus": deployment, "jobStatus": job, "startTime": START, **fields}


def test_a_ray_job_that_succeeds():
    steps = [
        {},
        ray("Initializing"),
        ray("Running", "PENDING"),
        ray("Running", "RUNNING"),
        ray("Running", "SUCCEEDED"),  # not over before its deployment says so
        ray("Complete", "SUCCEEDED", endTime=END),
    ]
    assert course(RAY, steps) == ["waits", "waits", "runs", "runs", "runs", "done"]
    assert RAY.read(seen("RayJob", **steps[5])) == Over(0, Reason.EXIT, "", START_AT, END_AT)


def test_the_start_of_a_ray_job_is_that_of_its_driver_if_told():
    told = ray("Running", "RUNNING", rayJobInfo={"startTime": "2026-08-01T10:00:15Z"})
    assert RAY.read(seen("RayJob", **told)) == Runs(START_AT + 10)


@pytest.mark.parametrize(
    ("status", "end"),
    [
        (ray("Failed", "FAILED", reason="AppFailed", message="exit code 1", failed=1), "exit"),
        (ray("Complete", "FAILED", message="exit code 1"), "exit"),  # up to KubeRay 1.1
        (ray("Complete", "STOPPED"), "deleted"),
        (ray("ValidationFailed", reason="ValidationFailed", message="no headGroupSpec"), "refused"),
        (ray("Failed", reason="DeadlineExceeded"), "timeout"),
        (ray("Failed", reason="PreRunningDeadlineExceeded"), "not-started"),
        (ray("Failed", reason="SubmissionFailed"), "not-started"),
        (ray("Failed", reason="JobStatusCheckTimeoutExceeded"), "lost"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_how_a_ray_job_ends(status, end):
    assert course(RAY, [status]) == [end]


def test_a_ray_job_with_retries_of_its_own_is_over_when_they_are_used_up():
    retrying = {"backoffLimit": 1}
    steps = [
        ray("Running", "RUNNING"),
        ray("Failed", "FAILED", failed=1, reason="AppFailed"),
        ray("Retrying", failed=1),
        ray("Initializing", failed=1),
        ray("Running", "RUNNING", failed=1),
        ray("Failed", "FAILED", failed=2, reason="AppFailed"),
    ]
    assert course(RAY, steps, retrying) == ["runs", "waits", "waits", "waits", "runs", "exit"]
    assert course(RAY, [*steps[:5], ray("Complete", "SUCCEEDED", failed=1)], retrying)[-1] == "done"
    assert course(RAY, [ray("Failed", failed=1, reason="DeadlineExceeded")], retrying) == ["timeout"]


def test_a_ray_job_that_a_queue_holds_back_lets_in_and_takes_out():
    held = {"suspend": True}
    assert course(RAY, [{}, ray("Suspended"), ray("Suspending", "STOPPED")], held) == ["suspended"] * 3
    assert course(RAY, [ray("Initializing"), ray("Running", "RUNNING")], {"suspend": False}) == ["waits", "runs"]


# --- any order

TYPES = ("Created", "Running", "Restarting", "Suspended", "Succeeded", "Failed", "Complete", "Completed")
REASONS = ("", "MPIJobEvicted", "DeadlineExceeded", "TrainingRuntimeNotSupported")
ANY = st.lists(
    st.builds(
        condition,
        st.sampled_from(TYPES),
        st.sampled_from(["True", "False", "Unknown"]),
        st.sampled_from(REASONS),
        st.sampled_from(["", "said"]),
        st.sampled_from([START, END]),
    ),
    max_size=6,
)


@pytest.mark.parametrize("kind", [JOB, PYTORCH, MPI, JOBSET, TRAINJOB], ids=lambda kind: kind.name)
@given(st.data(), ANY)
def test_any_order_of_conditions_gives_the_same_sight(kind, data, conditions):
    def sight(listed: list[Status]) -> Sight:
        return kind.read(seen("x", conditions=listed, replicaStatuses=LAUNCHER))

    assert sight(conditions) == sight(data.draw(st.permutations(conditions)))


@pytest.mark.parametrize("kind", [JOB, PYTORCH, MPI, JOBSET, TRAINJOB], ids=lambda kind: kind.name)
@given(ANY)
def test_conditions_that_are_not_true_never_end_anything(kind, conditions):
    untrue = [each | {"status": "False"} for each in conditions]
    assert kind.read(seen("x", conditions=untrue)) == Waits()
