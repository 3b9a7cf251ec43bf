"""What variables stand for in a pod, and what cannot run where a pod sees no other pod's files."""

import pytest

from odin.executors.kubernetes.paths import PodPaths, names_data, refusals
from odin.model.job import Job, Mount
from odin.model.variables import NAMES
from podlaunches import JOB, PIPELINE, VERSION, task


def values(has_claim=True, **given):
    return PodPaths(has_claim).values(PIPELINE, VERSION, JOB, "train", **given)


def refused(*tasks, root_files=("datasets.yml",)):
    return [str(problem) for problem in refusals(Job("nlp/sst2", "sst2", tasks), root_files)]


def test_every_variable_has_a_value():
    assert set(values()) == set(NAMES) - {"TASK_IDS"}


def test_a_task_sees_the_checkout_its_run_and_its_own_folder():
    of = values()
    assert of["ROOT_PATH"] == "/odin/root"
    assert of["WORK_PATH"] == "/odin/root/nlp/sst2"
    assert of["RUN_PATH"] == "/odin/run"
    assert of["TASK_PATH"] == "/odin/run/train"
    assert of["TASK_ID"] == "sst2-0000000a--train"


def test_rendered_files_lie_in_the_run_folder_of_a_claim_and_are_delivered_without_one():
    assert values(own_work=True)["WORK_PATH"] == "/odin/run/.odin/work"
    assert values(has_claim=False, own_work=True)["WORK_PATH"] == "/odin/root/nlp/sst2"


def test_the_ids_are_where_the_pod_has_them():
    assert PodPaths(True).files(PIPELINE, "a")["ODIN_TASK_IDS_FILE"] == "/odin/run/.odin/task_ids"
    assert PodPaths(False).files(PIPELINE, "a")["ODIN_TASK_IDS_FILE"] == "/odin/root/.odin/task_ids"
    assert PodPaths(False).files(PIPELINE, "a")["ODIN_OUTPUTS"] == "/odin/outputs"


def test_a_task_that_names_the_folder_of_all_pipelines_is_found():
    assert names_data(task(args=("ls", "/odin/data/x")))
    assert names_data(task(args=("-c", "ls $ODIN_DATA_PATH")))
    assert not names_data(task(args=("/data",)))


@pytest.mark.parametrize(
    "text",
    [
        "${WORK_PATH}/train.py",
        "$WORK_PATH",
        "${ROOT_PATH}",
        "${ROOT_PATH}/datasets.yml",
        "--settings=${ROOT_PATH}/nlp/sst2/x.json",
        "${ROOT_PATH}/nlp",
        "${WORK_PATH}/../../datasets.yml",
        "${WORK_PATH}/./a/../b",
        "${TASK_PATH}/out",
        "${RUN_PATH}/train/out",
        "${RUN_PATH}",
        "/data/${TASK_ID}",
        "$$DATA_PATH",
        "$DATA_PATHS",
        "${ROOT_PATH}:/usr/lib",
    ],
)
def test_what_a_pod_has_without_a_claim_is_let_through(text):
    assert refused(task("fetch"), task(args=(text,))) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("${DATA_PATH}/x", "which no pod has"),
        ("cat $ODIN_DATA_PATH/x", "which no pod has"),
        ("${RUN_PATH}/fetch/words.txt", 'a folder of the task "fetch", which ends with its pod'),
        ("--in=$RUN_PATH/fetch", 'a folder of the task "fetch"'),
        ("${TASK_PATH}/../fetch", 'a folder of the task "fetch"'),
        ("${RUN_PATH}/../other", "which no pod has"),
        ("${ROOT_PATH}/other/file", "neither in the job's folder nor a file at the repository's root"),
        ("${ROOT_PATH}/missing.yml", "neither in the job's folder nor a file at the repository's root"),
        ("${WORK_PATH}/../other/x", "neither in the job's folder"),
        ("${WORK_PATH}/../../../x", "which no pod has"),
        ("$$$DATA_PATH", "which no pod has"),
    ],
)
def test_what_no_pod_has_without_a_claim_is_refused_with_the_remedy(text, why):
    (said,) = refused(task("fetch"), task(args=("a", text)))
    assert said.startswith('main.yml: task "train" names "$')
    assert why in said
    assert "set ODIN_DATA_CLAIM" in said
    assert said.endswith("(at tasks[1])")


@pytest.mark.parametrize("field", ["command", "args", "inputs"])
def test_paths_are_looked_for_wherever_variables_stand(field):
    assert len(refused(task("fetch"), task(**{field: ("${RUN_PATH}/fetch/x",)}))) == 1


def test_paths_are_looked_for_in_values_outputs_and_mounts():
    path = "${RUN_PATH}/fetch/x"
    assert len(refused(task("fetch"), task(env={"A": path}))) == 1
    assert len(refused(task("fetch"), task(outputs={"a": path}))) == 1
    assert len(refused(task("fetch"), task(mounts=(Mount("a", path),)))) == 1


def test_tasks_that_share_the_run_folder_are_refused_each():
    said = refused(task("fetch", args=("${RUN_PATH}/words",)), task(args=("${RUN_PATH}/words",)), task("third"))
    assert len(said) == 2
    assert "each pod has its own" in said[0]


def test_the_same_path_is_refused_once():
    assert len(refused(task("fetch"), task(args=("${RUN_PATH}/fetch", "${RUN_PATH}/fetch")))) == 1
