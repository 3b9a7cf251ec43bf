"""What Kueue's Workload and what events say of an attempt that waits."""

import pytest

from clusterobjects import END, START, condition, event
from odin.executors.kubernetes import kueue, troubles
from odin.executors.kubernetes.body import Body
from odin.executors.kubernetes.queues import Queues
from odin.executors.kubernetes.sights import Over, Waits
from odin.model.ids import AttemptId
from odin.model.job import TaskSpec
from odin.model.reports import Reason


def workload(*conditions, checks=(), **spec):
    return {"spec": {"queueName": "team-a", **spec}, "status": {"conditions": conditions, "admissionChecks": checks}}


QUOTA = "couldn't assign flavors to pod set main: insufficient unused quota for cpu in flavor default, 2 more needed"
PENDING = condition("QuotaReserved", "False", "Pending", QUOTA, END)
PREEMPTED = condition("Evicted", "True", "Preempted", "Preempted to accommodate a workload (UID: 1)", START)


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ((), "it waits in queue team-a"),
        ((PENDING,), f"it waits in queue team-a: {QUOTA}"),
        (
            (condition("QuotaReserved", "False", "Inadmissible", "LocalQueue team-a doesn't exist"),),
            "it waits in queue team-a: LocalQueue team-a doesn't exist",
        ),
        (
            (condition("QuotaReserved", "False", "ExceedsMaxQuota", "insufficient quota for cpu, 9 > 8"),),
            "it can never run as it is in queue team-a: insufficient quota for cpu, 9 > 8",
        ),
        (
            (condition("QuotaReserved", "False", "NoMatchingFlavor", "flavor a doesn't match node affinity"),),
            "it can never run as it is in queue team-a: flavor a doesn't match node affinity",
        ),
        ((condition("QuotaReserved"), condition("Admitted")), ""),
        ((condition("QuotaReserved"), condition("Admitted"), PREEMPTED | {"status": "False"}), ""),
        ((condition("Finished", reason="Succeeded"), PENDING), ""),
        (
            (PREEMPTED,),
            "its queue took its place away, something more important took its place: "
            "Preempted to accommodate a workload (UID: 1)",
        ),
        ((PREEMPTED, PENDING), f"it waits in queue team-a: {QUOTA}"),
        ((PREEMPTED, condition("Requeued"), condition("QuotaReserved"), condition("Admitted")), ""),
        (
            (condition("Evicted", reason="PodsReadyTimeout", message=""),),
            "its queue took its place away, its pods were not ready in time: PodsReadyTimeout",
        ),
    ],
)
def test_why_a_workload_waits(conditions, said):
    assert kueue.read(workload(*conditions)) == said
    assert kueue.read(workload(*reversed(conditions))) == said


@pytest.mark.parametrize(
    "reason",
    ["Preempted", "PodsReadyTimeout", "AdmissionCheck", "ClusterQueueStopped", "LocalQueueStopped", "NodeFailures", "Deactivated"],
)  # fmt: skip
def test_every_eviction_has_words(reason):
    said = kueue.read(workload(condition("Evicted", reason=reason, message="said")))
    assert said == f"its queue took its place away, {kueue.LOST_BY[reason]}: said"


def test_a_workload_that_was_deactivated():
    evicted = condition("Evicted", reason="Deactivated", message="exceeded the maximum number of re-queuing retries")
    said = kueue.read(workload(evicted, active=False))
    assert said == "its workload is deactivated: exceeded the maximum number of re-queuing retries"


def test_a_workload_that_waits_for_its_checks():
    checks = [
        {"name": "provision", "state": "Pending", "message": "no capacity yet"},
        {"name": "budget", "state": "Ready", "message": ""},
    ]
    said = kueue.read(workload(condition("QuotaReserved"), checks=checks))
    assert said == "it has its quota and waits for provision (no capacity yet)"
    assert kueue.read(workload(condition("QuotaReserved"))) == "it has its quota and waits for its admission"


def test_only_a_task_that_names_a_queue_is_kueues():
    assert kueue.labels(TaskSpec("a", ("x",), cluster={"priority_class": "high"})) == {}
    assert kueue.labels(TaskSpec("a", ("x",), cluster={"queue": "q"})) == {kueue.QUEUE: "q"}


def test_what_a_queue_says_is_kept_until_it_says_another_thing_or_is_gone():
    news: list[str] = []
    queues = Queues(news.append)
    held = workload(condition("QuotaReserved", "False", "Pending", "no quota"))
    held["metadata"] = {"labels": {kueue.JOB_UID: "u1"}}
    body = Body(AttemptId("a-12345678--t"), object={"metadata": {"uid": "u1"}})
    assert not queues.mind(body)
    queues.listed(kueue.APIS[0], [held, workload()], 7)
    assert (news, queues.mind(body), body.queue) == (["u1"], True, kueue.read(held))
    queues.listed(kueue.APIS[0], [held], 8)
    assert (news, queues.mind(body)) == (["u1"], False)
    queues.seen(kueue.APIS[0], "DELETED", held)
    assert (news, queues.mind(body), body.queue) == (["u1", "u1"], True, "")
    queues.seen(kueue.APIS[0], "ADDED", held)
    queues.listed(kueue.APIS[0], [], 9)
    assert (queues.mind(body), body.queue) == (False, "")


# --- events


def test_a_mount_that_fails_is_told_and_counts_as_something_missing():
    said = 'MountVolume.SetUp failed for volume "keys" : secret "keys" not found'
    assert troubles.waiting([event("Scheduled", "x"), event("FailedMount", said)]) == Waits(said, config=True)


@pytest.mark.parametrize(
    "reason", ["FailedCreatePodSandBox", "FailedAttachVolume", "FailedCreate", "JobCreationFailed"]
)
def test_what_may_pass_is_told_and_no_more(reason):
    assert troubles.waiting([event(reason, "no IP yet.")]) == Waits("no IP yet")


def test_the_newest_event_that_matters_is_told():
    old, new = event("FailedMount", "old", START), event("FailedMount", "new", END)
    assert troubles.waiting([new, old, event("Scheduled", "later", "2026-08-01T11:00:00Z")]).why == "new"


def test_a_hindrance_that_was_overcome_is_none():
    old = event("FailedMount", "old", START)
    assert troubles.waiting([old, event("Pulling", "the image", END)]) is None


def test_events_of_both_forms_are_in_one_order():
    series = event("FailedMount", "series") | {"lastTimestamp": None, "series": {"lastObservedTime": END}}
    single = event("FailedMount", "single") | {"lastTimestamp": None, "eventTime": "2026-08-01T10:00:30.123456Z"}
    assert troubles.waiting([single, series]).why == "series"


def test_a_runtime_that_cannot_build_its_job_set_ends_the_task():
    over = troubles.waiting([event("TrainJobResourcesCreationFailed", "admission webhook denied the request")])
    assert isinstance(over, Over)
    assert (over.code, over.reason) == (None, Reason.REFUSED)
    assert over.message == "its operator cannot make its pods: admission webhook denied the request"


def test_events_that_say_nothing_of_waiting():
    assert troubles.waiting([event("Pulled", "x"), event("Started", "y")]) is None
    assert troubles.waiting([]) is None


@pytest.mark.parametrize(
    ("reason", "end"),
    [("Preempted", Reason.PREEMPTED), ("TaintManagerEviction", Reason.NODE_LOST), ("Evicted", Reason.EVICTED)],
)
def test_f20_on_old_clusters_only_an_event_says_who_took_a_pod_away(reason, end):
    assert troubles.removal([event("Killing", "x"), event(reason, "by default/b on node n1")]) == (
        end,
        "by default/b on node n1",
    )
    assert troubles.removal([event("Killing", "Stopping container task")]) is None
