"""What is composed for the cluster, and what a job is told before it is launched."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

import odin
from odin.executors.kubernetes import labels, paths, policy
from odin.executors.kubernetes.checks import ClusterCheck
from odin.executors.kubernetes.kinds.pod import API as PODS
from odin.executors.kubernetes.kinds.table import KINDS, ROWS, Served
from odin.executors.kubernetes.manifests import Manifests
from odin.executors.kubernetes.replies import Refused, Unreachable
from odin.executors.kubernetes.site import Site
from odin.executors.protocol import TaskLaunch
from odin.model.errors import NoSpace, NotFound, OdinError, TooLarge, Unavailable, ValidationFailed
from odin.model.ids import AttemptId
from odin.model.job import Job, TaskSpec
from podlaunches import FILES, PIPELINE, SHARED, SITE, VERSION, launch, task

ALL = Served(
    frozenset((api.group, api.version, api.plural) for row in ROWS for api in (*row.apis, *row.needs)), (1, 30)
)
BARE = Served(frozenset({("", "v1", "pods"), ("batch", "v1", "jobs")}), (1, 20))


class Counted(Manifests):
    """Counts what it composes."""

    composed = 0

    def compose(self, *given):
        self.composed += 1
        return super().compose(*given)


def manifests(site: Site = SITE, served: Served = ALL, **given: Callable) -> Counted:
    given = {"files_of": lambda _launch: (FILES, f"{PIPELINE}--train\n"), "make_folder": lambda _launch: None} | given
    made = Counted(site, given["files_of"], given["make_folder"])
    made.serve(served)
    return made


def check(job: Job, made: Manifests) -> list[str]:
    told = ClusterCheck(made.site, made, lambda *_: {"job/main.yml": 10}, lambda _: ["requirements.txt"])
    return list(told(job, VERSION, {}, lambda _: None))


def job(*tasks: TaskSpec) -> Job:
    return Job("nlp/job", "job", tasks)


# ---- one place sends, and it sends what was judged


def test_a95_objects_are_created_at_one_place_in_the_room():
    """Whatever is sent comes from ``Manifests``, which judges it."""
    room = Path(odin.__file__).parent
    calls = [
        f"{path.relative_to(room)}:{node.lineno}"
        for path in room.rglob("*.py")
        if "kubernetes" in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "create"
    ]
    assert len(calls) == 1, calls


@pytest.mark.parametrize("name", KINDS)
def test_a95_what_fills_a_name_is_judged_and_never_runs(name):
    attempt = AttemptId(f"{PIPELINE}--train")
    api, made = manifests().filler(attempt, name)
    marks = labels.of(launch(), SITE.store) | {labels.USER: "odin", labels.JOB: "void", labels.VOID: "true"}
    assert policy.judge(made, SITE, marks) == []
    assert (made["metadata"]["name"], made["kind"]) == (attempt, api.kind)
    assert "finalizers" not in made["metadata"], "nobody waits for its end"
    assert not made["spec"].get("nodeName")


async def test_a95_delivered_files_carry_the_marks_of_their_pipeline_alone():
    made = await manifests().make(launch())
    files = [each for api, each in made.objects if api.kind == "ConfigMap"]
    assert [each["metadata"]["labels"] for each in files] == [{labels.STORE: "store-1", labels.PIPELINE: PIPELINE}]
    assert made.objects[-1][0] == PODS


# ---- what is made beside the objects


async def test_files_are_read_once_for_all_tasks_of_a_pipeline():
    read: list[TaskLaunch] = []
    made = manifests(files_of=lambda each: (read.append(each), (FILES, ""))[1])
    for name in ("a", "b", "c"):
        await made.make(launch(task(name)))
    assert len(read) == 1


async def test_a_reading_that_failed_is_done_again():
    answers = iter([Unavailable("the repository is away"), (FILES, "")])

    def files_of(_launch):
        answer = next(answers)
        if isinstance(answer, OdinError):
            raise answer
        return answer

    made = manifests(files_of=files_of)
    with pytest.raises(Unreachable, match="repository is away"):
        await made.make(launch())
    assert (await made.make(launch())).objects[-1][0] == PODS


async def test_on_a_data_claim_the_task_has_its_folder_before_it_has_a_pod():
    folders: list[str] = []
    made = manifests(SHARED, make_folder=lambda each: folders.append(each.origin.task))
    await made.make(launch(site=SHARED))
    assert folders == ["train"]


async def test_a_folder_that_cannot_be_made_now_is_tried_again():
    def make_folder(_launch):
        raise OSError(28, "No space left on device")

    with pytest.raises(Unreachable, match="No space left"):
        await manifests(SHARED, make_folder=make_folder).make(launch(site=SHARED))


@pytest.mark.parametrize("error", [NotFound("no job"), NoSpace("full")])
async def test_what_cannot_be_delivered_ends_the_attempt(error):
    def files_of(_launch):
        raise error

    with pytest.raises((Refused, Unreachable)):
        await manifests(files_of=files_of).make(launch())


# ---- before a launch


def test_equal_tasks_are_judged_once():
    made = manifests()
    tasks = [task(f"t{number}", args=(str(number),), env={"NUMBER": str(number)}) for number in range(5_000)]
    assert check(job(*tasks), made) == []
    assert made.composed == 1


def test_tasks_that_differ_in_what_is_judged_are_all_judged():
    tasks = [
        task("good"),
        task("one", cluster={"service_account": "admin"}),
        task("two", cluster={"service_account": "admin"}),
        task("three", cluster={"labels": {"odin/task": "x"}}),
    ]
    with pytest.raises(ValidationFailed) as refused:
        check(job(*tasks), manifests())
    assert {problem.path for problem in refused.value.problems} == {"tasks[1]", "tasks[2]", "tasks[3]"}


def test_more_ids_than_a_config_map_holds_are_refused_before_anything_runs():
    tasks = [task(f"{'x' * 40}{number}", resource_type="Pod") for number in range(20_000)]
    with pytest.raises(TooLarge, match=paths.REMEDY):
        check(job(*tasks), manifests())
    assert check(job(*tasks), manifests(SHARED)) == []


def test_f37_a_kind_that_is_not_served_is_refused_with_what_brings_it():
    with pytest.raises(ValidationFailed) as refused:
        check(job(task(resource_type="PyTorchJob", num_workers=2)), manifests(served=BARE))
    (problem,) = refused.value.problems
    for word in ("PyTorchJob", "pytorchjobs of kubeflow.org/v1", "install Kubeflow's training operator"):
        assert word in problem.message


def test_a_task_of_another_user_is_told_that_the_claims_folders_are_closed_to_it():
    other = task("other", cluster={"security_context": {"run_as_user": 2000}})
    own = task("own", cluster={"security_context": {"run_as_user": 10001}})
    (said,) = check(job(other, own, task("plain")), manifests(SHARED))
    assert said.endswith("belongs to user 10001, so other users cannot read or write there: other")
    assert check(job(other), manifests()) == []
