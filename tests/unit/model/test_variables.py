from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odin.model.errors import TooLarge
from odin.model.job import Mount, TaskSpec
from odin.model.variables import MAX_STRING, MAX_TOTAL, NAMES, expand, expand_task, oversize, strays

VALUES = {name: name.lower().replace("_", "-") for name in NAMES}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("$TASK_ID", "task-id"),
        ("${TASK_ID}", "task-id"),
        ("/x/${RUN_PATH}/$TASK_NAME.yml", "/x/run-path/task-name.yml"),
        ("${TASK_IDS}", "task-ids"),
        ("$$", "$"),
        ("$${TASK_ID}", "${TASK_ID}"),
        ("$$$TASK_ID", "$task-id"),
        ("$$$$", "$$"),
        ("$HOME ${HOME} $i", "$HOME ${HOME} $i"),
        ("${TASK_ID:-x} ${#a} $(pwd) $1 $", "${TASK_ID:-x} ${#a} $(pwd) $1 $"),
        ("$TASK_IDX", "$TASK_IDX"),
        ("${ TASK_ID }", "${ TASK_ID }"),
    ],
)
def test_known_names_are_expanded_and_the_shells_stay(text, expanded):
    assert expand(text, VALUES) == expanded


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_known_in_both_forms(name):
    assert expand(f"${name} ${{{name}}}", VALUES) == f"{VALUES[name]} {VALUES[name]}"


def test_a_name_without_a_value_and_a_value_without_a_name_change_nothing():
    assert expand("$TASK_ID $OTHER", {"OTHER": "x"}) == "$TASK_ID $OTHER"


@given(
    st.lists(st.sampled_from(["$$", "$", "${", "}", "TASK_ID", "$PIPE_ID", "${PIPE_ID}", "{^a.b}", " "]), max_size=8)
)
def test_a25_a_value_is_never_expanded_again(parts):
    value = "".join(parts)
    assert expand("<${TASK_NAME}>", {**VALUES, "TASK_NAME": value}) == f"<{value}>"


@given(st.text(alphabet="${}TASK_ID a", max_size=40))
def test_a25_doubling_every_dollar_keeps_any_text_as_it_is(text):
    assert expand(text.replace("$", "$$"), VALUES) == text


def test_a25_a_list_of_ids_may_have_64_kilobytes():
    assert len(expand("$TASK_IDS", {"TASK_IDS": "x" * 65_536})) == 65_536
    with pytest.raises(TooLarge, match="ODIN_TASK_IDS_FILE"):
        expand("$TASK_IDS", {"TASK_IDS": "x" * 65_537})


def test_a25_a_result_may_have_128_kibibytes():
    values = {"RUN_PATH": "x" * 1000}
    assert len(expand("${RUN_PATH}" * 131 + "y" * 71, values)) == MAX_STRING
    with pytest.raises(TooLarge, match="128 KiB"):
        expand("${RUN_PATH}" * 131 + "y" * 72, values)
    with pytest.raises(TooLarge, match="128 KiB"):
        expand("$RUN_PATH" * 10_000_000, values)


def test_a25_the_limit_counts_bytes():
    with pytest.raises(TooLarge):
        expand("$TASK_ID" + "ü" * 70_000, VALUES)


TASK = TaskSpec(
    name="train",
    command=("$WORK_PATH/run",),
    args=("--out", "${TASK_PATH}", "$$HOME"),
    env={"OUT": "$RUN_PATH", "TASK_ID": "$TASK_ID"},
    inputs=("$DATA_PATH/in",),
    outputs={"$TASK_ID": "$TASK_PATH/model"},
    mounts=(Mount("$TASK_ID", "$ROOT_PATH", "$PIPE_ID"),),
)


def test_variables_stand_in_commands_values_and_paths_only():
    task = expand_task(TASK, VALUES)
    assert task.command == ("work-path/run",)
    assert task.args == ("--out", "task-path", "$HOME")
    assert task.env == {"OUT": "run-path", "TASK_ID": "task-id"}
    assert task.inputs == ("data-path/in",)
    assert task.outputs == {"$TASK_ID": "task-path/model"}
    assert task.mounts == (Mount("$TASK_ID", "root-path", "$PIPE_ID"),)


def test_f89_arguments_up_to_the_kernels_limits_are_accepted():
    assert oversize(["x" * MAX_STRING], {}) is None
    assert oversize(["x" * 99_999] * 10, {"A": "x" * (MAX_TOTAL - 1_000_003)}) is None


def test_f89_a_large_argument_is_named():
    found = oversize(["python", "ü" * (MAX_STRING // 2 + 1)], {})
    assert found is not None
    assert (found.argument, found.variable) == (1, None)
    assert "file" in found.message


def test_f89_a_large_variable_is_named():
    found = oversize(["python"], {"SMALL": "x", "LARGE": "x" * MAX_STRING})
    assert found is not None
    assert (found.argument, found.variable) == (None, "LARGE")


def test_f89_too_much_together_is_refused():
    found = oversize(["x" * 99_999] * 10, {"A": "x" * (MAX_TOTAL - 1_000_002)})
    assert found is not None
    assert "together" in found.message


def test_f89_what_grows_too_large_by_expansion_is_refused_with_the_task():
    with pytest.raises(TooLarge, match='task "train": arguments and environment'):
        expand_task(TaskSpec("train", ("x",), args=("$RUN_PATH",) * 20), {"RUN_PATH": "x" * 60_000})


def found(text: str, **env: str) -> list[tuple[str, str | None, bool]]:
    return [(stray.name, stray.near, stray.off is not None) for stray in strays(text, env)]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("TASK_PAHT", "TASK_PATH"),
        ("TASKPATH", "TASK_PATH"),
        ("TASK_PATHS", "TASK_PATH"),
        ("PIPE_IP", "PIPE_ID"),
        ("DATE_PATH", "DATA_PATH"),
        ("TASK_NAM", "TASK_NAME"),
    ],
)
def test_one_letter_off_a_name_is_an_error(name, near):
    assert found(f"${name}") == found(f"${{{name}}}") == [(name, near, True)]


def test_another_name_is_a_warning_with_the_nearest():
    assert found("$TSK_NAMES $HOME $HOME") == [("TSK_NAMES", "TASK_NAME", False), ("HOME", None, False)]
    assert [str(stray) for stray in strays("$TSK_NAMES", {})] == [
        "${TSK_NAMES} is not one of Odin's variables and stays as it is; did you mean ${TASK_NAME}?"
    ]


def test_names_of_the_tasks_own_environment_and_of_odins_are_in_order():
    assert found("$ODIN_TASK_PATH $ODIN_TASK_PAHT $TASK_PAHT", TASK_PAHT="x") == []
    assert found("$TASK_ID ${RUN_PATH} $$TASK_PAHT plain") == []
