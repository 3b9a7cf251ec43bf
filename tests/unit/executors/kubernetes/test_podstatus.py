"""What a pod says: recorded as API servers from 1.20 on and their kubelets write it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterobjects import END_AT, START_AT, condition, container, pod, running, terminated, waiting
from odin.executors.kubernetes.podstatus import gone, outputs, read
from odin.executors.kubernetes.sights import Over, Runs, Waits
from odin.model.reports import Reason

UNSCHEDULED = {"spec": {"nodeName": ""}}
DELETED = {"deletionTimestamp": "2026-08-01T10:01:30Z", "deletionGracePeriodSeconds": 30}  # asked for at 10:01:00


def pending(reason: str, message: str = "") -> dict:
    return pod("Pending", waiting(reason, message))


def failed(state=None, **fields) -> dict:
    return pod("Failed", state, **fields)


def over(seen) -> Over:
    assert isinstance(seen, Over), seen
    return seen


# --- it waits


def test_f23_a_pod_that_no_node_can_take_says_so_in_the_schedulers_words():
    said = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    scheduled = condition("PodScheduled", "False", "Unschedulable", said)
    seen = read(pod("Pending", spec={"nodeName": ""}, status={"conditions": [scheduled]}))
    assert seen == Waits(f"no node can take it now: {said[:-1]}")


def test_a_pod_that_the_scheduler_has_not_seen_yet_just_waits():
    assert read({"kind": "Pod", "metadata": {"name": "a"}, "spec": {}, "status": {"phase": "Pending"}}) == Waits()
    assert read({"kind": "Pod", "metadata": {"name": "a"}}) == Waits()


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing"])
def test_a_container_that_is_being_made_just_waits(reason):
    assert read(pending(reason)) == Waits()


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ErrImagePull", 'failed to resolve reference "nope:1": not found'),
        ("ImagePullBackOff", 'Back-off pulling image "nope:1": ErrImagePull: not found'),
        ("InvalidImageName", 'couldn\'t parse image reference "No:Pe": invalid reference format'),
        ("ErrImageNeverPull", 'Container image "nope:1" is not present with pull policy of Never'),
    ],
)
def test_f22_an_image_that_cannot_be_pulled_is_told_with_the_registrys_words(reason, message):
    seen = read(pending(reason, message))
    assert seen == Waits(f"its image example/trainer:1 cannot be pulled: {message}", image=True)


@pytest.mark.parametrize("reason", ["CreateContainerConfigError", "CreateContainerError"])
def test_f26_a_secret_that_is_missing_is_named(reason):
    assert read(pending(reason, 'secret "keys" not found')) == Waits(
        'it cannot start: secret "keys" not found', config=True
    )


def test_a_trouble_without_a_message_is_told_by_its_reason():
    assert read(pending("ImagePullBackOff")).why.endswith("cannot be pulled: ImagePullBackOff")


def test_the_image_of_an_init_container_counts_too():
    init = container("fetch", waiting("ErrImagePull", "denied"), image="init:1")
    seen = read(pod("Pending", waiting("PodInitializing"), status={"initContainerStatuses": [init]}))
    assert seen == Waits("its image init:1 cannot be pulled: denied", image=True)


def test_the_image_of_a_container_beside_counts_too():
    seen = read(pod("Pending", waiting("ContainerCreating"), others=[container("proxy", waiting("ErrImagePull", "x"))]))
    assert seen.image


@pytest.mark.parametrize(
    ("gates", "why"),
    [
        (["kueue.x-k8s.io/admission"], "suspended: its queue has not admitted it yet"),
        (["example.com/quota", "example.com/net"], "it is held back by example.com/quota, example.com/net"),
    ],
)
def test_a_gate_holds_a_pod_back_on_purpose(gates, why):
    gated = condition("PodScheduled", "False", "SchedulingGated", "Scheduling is blocked due to non-empty gates")
    spec = {"nodeName": "", "schedulingGates": [{"name": gate} for gate in gates]}
    seen = read(pod("Pending", spec=spec, status={"conditions": [gated]}))
    assert seen == Waits(why, suspended=True)


# --- it runs


def test_a_pod_runs_since_its_container_started_not_since_the_pod_was_accepted():
    assert read(pod("Running", running())) == Runs(START_AT)


def test_a_container_that_started_in_a_pod_that_is_still_pending_runs():
    """Kubelets write the state of containers before the phase follows."""
    assert read(pod("Pending", running())) == Runs(START_AT)


def test_a_container_that_ended_runs_until_its_pod_is_over():
    assert read(pod("Running", terminated(0))) == Runs(START_AT)


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Unknown"},
        {"reason": "NodeLost", "message": "Node n1 which was running pod x is unresponsive"},
        {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": None}]},
    ],
    ids=["unknown", "node lost", "marked not ready by nobody's kubelet"],
)
def test_f25_a_silent_node_is_told_at_once_and_ends_nothing(status):
    assert read(pod("Running", running(), status=status)) == Runs(START_AT, "node n1 does not answer")


def test_f25_a_silent_node_is_told_of_a_pod_that_never_started_too():
    assert read(pod("Unknown", waiting("ContainerCreating"))) == Waits("node n1 does not answer")


def test_a_pod_that_is_not_ready_by_its_kubelet_is_on_a_node_that_answers():
    unready = condition("Ready", "False", "ContainersNotReady", "containers with unready status: [proxy]")
    assert read(pod("Running", running(), status={"conditions": [unready]})) == Runs(START_AT)


def test_f36_a_pod_that_is_being_removed_runs_until_its_container_has_ended():
    terminating = pod("Running", running(), metadata=DELETED)
    assert read(terminating) == Runs(START_AT, "Terminating: somebody deleted its pod")
    assert read(terminating, stopping=True) == Runs(START_AT, "Terminating")
    starting = pod("Pending", waiting("ContainerCreating"), metadata=DELETED)
    assert read(starting, stopping=True) == Waits("Terminating")


def test_what_takes_a_running_pod_away_is_told_before_it_ends():
    seen = pod("Running", running(), status={"conditions": [PREEMPTED]}, metadata=DELETED)
    assert read(seen).why == "it is being stopped: preempting to accommodate a higher priority pod"


# --- it ended by itself


def test_a_task_that_did_its_work():
    assert read(pod("Succeeded", terminated(0))) == Over(0, Reason.EXIT, "", START_AT, END_AT)


def test_f24_an_exit_code():
    assert read(failed(terminated(2))) == Over(2, Reason.EXIT, "", START_AT, END_AT)


def test_f24_what_a_container_says_of_its_end_is_the_message():
    assert read(failed(terminated(2, message="no such data set\n"))).message == "no such data set"


def test_outputs_are_no_message():
    ended = failed(terminated(2, message='{"loss": 0.5}'))
    assert (read(ended).message, outputs(ended)) == ("", '{"loss": 0.5}')


@pytest.mark.parametrize("code", [129, 137, 143])
def test_f24_a_signal_has_its_name(code):
    seen = over(read(failed(terminated(code))))
    assert (seen.code, seen.reason) == (code, Reason.SIGNAL)
    assert (
        seen.message
        == {
            129: "killed by SIGHUP (hangup)",
            137: "killed by SIGKILL (killed)",
            143: "killed by SIGTERM (terminated)",
        }[code]
    )


def test_f24_a_signal_that_the_runtime_names_itself():
    assert read(failed(terminated(0, "Error", signal=9))).code == 137


def test_f24_a_code_above_all_signals_is_a_code():
    assert read(failed(terminated(255))).reason is Reason.EXIT


def test_f24_memory_is_told_with_the_limit():
    limited = {"containers": [{"name": "task", "resources": {"limits": {"memory": "2Gi"}}}]}
    seen = read(failed(terminated(137, "OOMKilled"), spec=limited))
    assert seen == Over(137, Reason.OOM, "it used more memory than its limit of 2Gi", START_AT, END_AT)
    assert read(failed(terminated(137, "OOMKilled"))).message == "it used more memory than there was"


@pytest.mark.parametrize(
    ("code", "reason"), [(128, "StartError"), (127, "ContainerCannotRun"), (126, "Error"), (127, "Error")]
)
def test_f24_a_command_that_could_not_be_executed(code, reason):
    said = 'exec: "python": executable file not found in $PATH'
    seen = over(read(failed(terminated(code, reason, startedAt="1970-01-01T00:00:00Z", message=said))))
    assert (seen.code, seen.reason, seen.started_at) == (code, Reason.NOT_STARTED, None)
    assert seen.message == f"python could not be executed: {said}"


def test_an_init_container_that_failed():
    init = container("fetch", terminated(3, message="no route to host"))
    seen = over(read(failed(waiting("PodInitializing"), status={"initContainerStatuses": [init]})))
    assert (seen.code, seen.reason, seen.started_at) == (None, Reason.NOT_STARTED, None)
    assert seen.message == 'it never began: init container "fetch" ended with exit code 3: no route to host'


def test_a_limit_of_time_that_the_kubelet_kept():
    said = "Pod was active on the node longer than the specified deadline"
    seen = over(read(failed(terminated(143), status={"reason": "DeadlineExceeded", "message": said})))
    assert (seen.code, seen.reason) == (143, Reason.TIMEOUT)


# --- several containers


BESIDE = {"initContainers": [{"name": "proxy", "restartPolicy": "Always"}]}


def test_a_sidecar_that_failed_is_no_failure_of_the_task():
    sidecar = {"initContainerStatuses": [container("proxy", terminated(137))]}
    assert read(pod("Succeeded", terminated(0), spec=BESIDE, status=sidecar)).code == 0
    assert read(failed(terminated(2), spec=BESIDE, status=sidecar)).reason is Reason.EXIT


def test_a_container_beside_that_runs_on_does_not_keep_the_task_from_being_over():
    """As service meshes put them into pods: such a pod never ends."""
    injected = pod("Running", terminated(3), others=[container("istio-proxy", running())])
    assert read(injected) == Over(3, Reason.EXIT, "", START_AT, END_AT)


def test_a_container_beside_that_failed_leaves_the_tasks_own_end():
    assert read(failed(terminated(0), others=[container("istio-proxy", terminated(1))])).code == 0


def test_a_container_that_will_be_started_again_is_not_over():
    again = {"restartPolicy": "OnFailure"}
    beside = [container("proxy", running())]
    assert isinstance(read(pod("Running", terminated(1), spec=again, others=beside)), Runs)
    assert isinstance(read(pod("Running", terminated(0), spec=again, others=beside)), Over)


def test_the_container_that_counts_is_named_by_the_kind():
    two = pod("Failed", terminated(4), main="pytorch", others=[container("task", terminated(5))])
    assert read(two, "pytorch").code == 4
    assert read(two, "no such").code == 4  # the first


# --- something ended it


PREEMPTED = condition(
    "DisruptionTarget", reason="PreemptionByScheduler", message="preempting to accommodate a higher priority pod"
)


@pytest.mark.parametrize(
    ("told", "reason", "words"),
    [
        ("Evicted", Reason.EVICTED, "node n1 evicted it"),
        ("Preempting", Reason.PREEMPTED, "more important"),
        ("Preempted", Reason.PREEMPTED, "more important"),
        ("NodeShutdown", Reason.NODE_LOST, "node n1 shut down"),
        ("Shutdown", Reason.NODE_LOST, "node n1 shut down"),
        ("Terminated", Reason.NODE_LOST, "node n1 shut down"),
        ("NodeAffinity", Reason.NODE_LOST, "node n1 came back without the labels"),
        ("UnexpectedAdmissionError", Reason.NODE_LOST, "node n1 could not take it"),
        ("NodeLost", Reason.NODE_LOST, "node n1 is lost"),
        ("OutOfcpu", Reason.EVICTED, "node n1 has no room for it"),
        ("OutOfnvidia.com/gpu", Reason.EVICTED, "node n1 has no room for it"),
    ],
)
@pytest.mark.parametrize("state", [None, terminated(137), terminated(1)], ids=["never started", "killed", "code 1"])
def test_f20_what_the_node_did_comes_before_what_the_container_returned(told, reason, words, state):
    seen = over(read(failed(state, status={"reason": told, "message": "The node was low on resource: memory. "})))
    assert seen.reason is reason
    assert words in seen.message
    assert seen.message.endswith("The node was low on resource: memory")


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("PreemptionByScheduler", Reason.PREEMPTED),
        ("DeletionByTaintManager", Reason.NODE_LOST),
        ("DeletionByPodGC", Reason.NODE_LOST),
        ("EvictionByEvictionAPI", Reason.EVICTED),
        ("TerminationByKubelet", Reason.EVICTED),
        ("SomethingNew", Reason.EVICTED),
    ],
)
def test_f20_a_disruption_has_its_reason_in_a_condition(told, reason):
    disrupted = condition("DisruptionTarget", reason=told, message="said")
    seen = over(read(failed(terminated(143), status={"conditions": [disrupted]}, metadata=DELETED)))
    assert (seen.code, seen.reason) == (143, reason)


def test_f20_a_queue_that_takes_the_place_of_a_pod_preempts_it():
    target = condition("TerminationTarget", reason="WorkloadEvicted", message="Preempted to accommodate a workload")
    seen = over(read(failed(terminated(143), status={"conditions": [target]}, metadata=DELETED)))
    assert (seen.reason, "Preempted to accommodate" in seen.message) == (Reason.PREEMPTED, True)


def test_a_disruption_that_was_called_off_ends_nothing():
    off = PREEMPTED | {"status": "False"}
    assert read(failed(terminated(2), status={"conditions": [off]})).reason is Reason.EXIT


def test_a_pod_that_finished_all_the_same_succeeded():
    assert read(pod("Succeeded", terminated(0), status={"conditions": [PREEMPTED]}, metadata=DELETED)).code == 0


def test_f25_a_pod_that_the_garbage_collector_gives_up_with_its_node():
    gone = condition("DisruptionTarget", reason="DeletionByPodGC", message="PodGC: node no longer exists")
    seen = over(read(failed(running(), status={"conditions": [gone]}, metadata=DELETED)))
    assert (seen.code, seen.reason, seen.started_at) == (None, Reason.NODE_LOST, START_AT)
    assert seen.message == "node n1 is gone: PodGC: node no longer exists"


def test_f25_a_kubelet_that_came_back_without_the_container_does_not_know_its_code():
    seen = over(read(failed(terminated(137, "ContainerStatusUnknown", message="could not be located"))))
    assert (seen.code, seen.reason) == (None, Reason.NODE_LOST)


def test_an_end_that_nobody_saw_is_lost():
    assert read(failed()) == Over(None, Reason.LOST, "its end was not seen")


def test_f21_a_pod_that_somebody_deleted():
    seen = over(read(failed(terminated(143), metadata=DELETED)))
    assert (seen.code, seen.reason, seen.message) == (143, Reason.DELETED, "somebody deleted its pod")


def test_f21_a_container_that_ended_before_the_deletion_has_its_own_end():
    seen = failed(terminated(3, at="2026-08-01T10:00:59Z"), metadata=DELETED)
    assert read(seen).reason is Reason.EXIT


def test_f21_a_deletion_that_odin_asked_for_is_nobodys():
    assert read(failed(terminated(143), metadata=DELETED), stopping=True).reason is Reason.SIGNAL
    assert read(failed(metadata=DELETED), stopping=True).reason is Reason.STOPPED


@pytest.mark.parametrize(("stopping", "reason"), [(False, Reason.DELETED), (True, Reason.STOPPED)])
def test_f21_a_deleted_pod_without_a_node_is_over_though_no_kubelet_says_so(stopping, reason):
    seen = pod("Pending", metadata=DELETED, **UNSCHEDULED)
    assert over(read(seen, stopping=stopping)).reason is reason


@pytest.mark.parametrize("state", [running(), None, waiting("ContainerCreating")])
def test_f21_a_pod_that_exists_no_more_is_over_whatever_it_said_last(state):
    assert over(read(gone(pod("Running", state, metadata=DELETED)))).reason is Reason.DELETED
    assert over(read(gone(pod("Running", state)))).code is None


def test_a_pod_that_was_over_before_it_went_keeps_its_end():
    assert read(gone(failed(terminated(3)))) == read(failed(terminated(3)))
    assert read(gone(pod("Running", terminated(3)))).code == 3


# --- outputs


@pytest.mark.parametrize("phase", ["Running", "Succeeded", "Failed"])
def test_outputs_are_what_the_container_left(phase):
    text = json.dumps({"model": "/data/m", "loss": 0.1})
    assert outputs(pod(phase, terminated(0, message=text))) == text


@pytest.mark.parametrize(
    "state",
    [
        running(),
        terminated(0),
        terminated(1, message="out of luck"),
        terminated(128, "StartError", message='{"not": "mine"}'),
    ],
)
def test_what_is_no_json_object_of_the_task_is_no_output(state):
    assert outputs(pod("Failed", state)) is None


def test_outputs_that_were_cut_off_are_still_outputs():
    cut = json.dumps({"a": "x" * 5000})[:4096]
    assert outputs(pod("Succeeded", terminated(0, message=cut))) == cut


# --- any shape


CONDITIONS = st.lists(
    st.builds(
        condition,
        st.sampled_from(["Ready", "PodScheduled", "DisruptionTarget", "Initialized", "ContainersReady"]),
        st.sampled_from(["True", "False", "Unknown"]),
        st.sampled_from(["", "PreemptionByScheduler", "EvictionByEvictionAPI", "Unschedulable"]),
        st.sampled_from(["", "said"]),
    ),
    max_size=5,
)
STATES = st.sampled_from([None, running(), waiting("ErrImagePull", "x"), terminated(0), terminated(137, "OOMKilled")])
PHASES = st.sampled_from(["", "Pending", "Running", "Succeeded", "Failed", "Unknown"])


@given(st.data(), PHASES, STATES, CONDITIONS, st.booleans(), st.booleans())
def test_any_order_of_conditions_gives_the_same_sight(data, phase, state, conditions, deleted, stopping):
    def sight(listed):
        metadata = DELETED if deleted else {}
        return read(pod(phase, state, status={"conditions": listed}, metadata=metadata), stopping=stopping)

    assert sight(conditions) == sight(data.draw(st.permutations(conditions)))


@given(PHASES, STATES, CONDITIONS)
def test_a_pod_of_a_final_phase_is_over_and_no_other_phase_succeeds(phase, state, conditions):
    seen = read(pod(phase, state, status={"conditions": conditions}))
    assert isinstance(seen, Over) == (phase in ("Succeeded", "Failed"))
    assert not (isinstance(seen, Over) and seen.reason is Reason.EXIT and seen.code is None)
