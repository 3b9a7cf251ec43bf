"""Saving tasks changes what differs in the file's text, and nothing else."""

import textwrap
from typing import Any

import pytest

from odin.jobs.repository import Repository
from odin.jobs.roundtrip import with_tasks
from odin.jobs.values import Author
from odin.model.document import load, plain
from odin.model.errors import Conflict, InvalidInput, NotFound, ValidationFailed

SST2 = """\
# Sentiment, as in the paper.
name: sst2
x-images:
  - &trainer example/trainer:1   # pinned
claim: &claim data-rw-many
tasks:

 # Gets the data.
 - name: fetch
   command: python
   args: ["${WORK_PATH}/fetch.py", "--out", "${TASK_PATH}"]  # flow

 - name: train   # the long one
   image: *trainer
   command: [python, -m, trainer]
   args:
    # where
    - "--config"
    - "${WORK_PATH}/${TASK_NAME}.yml"
   depends: fetch
   mount: {name: data, path: /data, claim: *claim}
   num_gpus: 1
   env:
     LR_RATE: "0.1"
# the end
on_failure: continue
"""


def tasks_of(text: str) -> list[dict[str, Any]]:
    root = plain(load(text, file="main.yml"))
    return root["tasks"]


def saved(text: str, tasks: list[dict[str, Any]]) -> str:
    return with_tasks(text.encode(), tasks, file="main.yml").decode()


def lines_that_differ(old: str, new: str) -> tuple[list[str], list[str]]:
    before, after = old.splitlines(), new.splitlines()
    return [x for x in before if x not in after], [x for x in after if x not in before]


def camel(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    spelled = {"num_gpus": "numGpus", "mount": "mounts"}
    return [{"id": f"sst2--{t['name']}", **{spelled.get(k, k): v for k, v in t.items()}} for t in tasks]


def test_the_same_tasks_leave_every_byte() -> None:
    assert saved(SST2, camel(tasks_of(SST2))) == SST2


def test_one_changed_field_changes_one_line() -> None:
    tasks = camel(tasks_of(SST2))
    tasks[1]["numGpus"] = 2
    assert lines_that_differ(SST2, saved(SST2, tasks)) == (["   num_gpus: 1"], ["   num_gpus: 2"])


def test_an_alias_that_is_not_touched_stays() -> None:
    tasks = camel(tasks_of(SST2))
    tasks[1]["args"] = ["--config", "x.yml"]
    new = saved(SST2, tasks)
    assert "image: *trainer" in new
    assert "claim: *claim}" in new
    assert tasks_of(new)[1]["args"] == ["--config", "x.yml"]


def test_an_alias_that_is_touched_becomes_a_value_and_its_anchor_stays() -> None:
    tasks = camel(tasks_of(SST2))
    tasks[1]["image"] = "example/trainer:2"
    assert lines_that_differ(SST2, saved(SST2, tasks)) == (
        ["   image: *trainer"],
        ["   image: example/trainer:2"],
    )


def test_a_field_is_added_and_another_removed() -> None:
    tasks = camel(tasks_of(SST2))
    del tasks[1]["env"]
    tasks[1]["retryDelay"] = "30s"
    assert lines_that_differ(SST2, saved(SST2, tasks)) == (
        ["   env:", '     LR_RATE: "0.1"'],
        ["   retry_delay: 30s"],
    )


def test_keys_of_env_are_never_respelled() -> None:
    tasks = camel(tasks_of(SST2))
    tasks[1]["env"] = {"LR_RATE": "0.2", "numGpus": "x"}
    assert tasks_of(saved(SST2, tasks))[1]["env"] == {"LR_RATE": "0.2", "numGpus": "x"}


def test_a_task_is_added_at_the_end_and_the_rest_stays() -> None:
    tasks = [*camel(tasks_of(SST2)), {"name": "last", "command": "true", "depends": ["train"], "numGpus": 1}]
    new = saved(SST2, tasks)
    removed, added = lines_that_differ(SST2, new)
    assert removed == []
    assert added[0] == " - name: last"
    assert tasks_of(new)[2] == {"name": "last", "command": "true", "depends": ["train"], "num_gpus": 1}


def test_tasks_keep_their_comments_when_they_change_places() -> None:
    new = saved(SST2, camel(tasks_of(SST2))[::-1])
    assert [task["name"] for task in tasks_of(new)] == ["train", "fetch"]
    assert new.index("# the long one") < new.index("# Gets the data.") < new.index("- name: fetch")
    assert new.index("- name: fetch") < new.index("# the end")


def test_a_removed_task_takes_its_comments_along() -> None:
    new = saved(SST2, [{**camel(tasks_of(SST2))[1], "depends": []}])
    assert "fetch" not in new.replace("fetch.py", "")
    assert "# the long one" in new
    assert "# Sentiment" in new


def test_a_renamed_task_keeps_its_place_and_comments() -> None:
    tasks = camel(tasks_of(SST2))
    tasks[0]["name"] = "load"
    tasks[1]["depends"] = "load"
    removed, added = lines_that_differ(SST2, saved(SST2, tasks))
    assert (removed, added) == ([" - name: fetch", "   depends: fetch"], [" - name: load", "   depends: load"])


CASES = {
    "empty list": "# none\ntasks: []  # yet\nname: x\n",
    "no value": "tasks:\nname: x\n",
    "no key": "name: x\n",
    "no line break at the end": "name: x\ntasks: []",
    "flow list": "tasks: [{name: a, command: b}]  # flow\nname: x\n",
    "flow file": "{name: x, tasks: [{name: a, command: b}]}\n",
    "flow task": "tasks:\n- {name: a, command: b}  # flow\n- name: c\n  command: d\n",
    "list in the first column": "tasks:\n- name: a\n  command: b\nname: x\n",
    "dash on its own line": "tasks:\n-\n  name: a\n  command: b\n-\n  name: c\n  command: d\n",
    "windows": "name: x\r\ntasks:\r\n- name: a\r\n  command: b\r\n",
    "block scalar": "tasks:\n- name: a\n  command: sh\n  args:\n  - -c\n  - |\n    one\n    two\n\n# end\nname: x\n",
    "merge": "x-base: &base {image: i, num_gpus: 1}\ntasks:\n- <<: *base\n  name: a\n  command: b\n",
    "anchored task": "tasks:\n- &a\n  name: a\n  command: b\n- <<: *a\n  name: c\n",
    "anchored value": "tasks:\n- name: a\n  image: &i one\n  command: b\n- name: c\n  image: *i\n  command: d\n",
    "odd keys": 'tasks:\n- "name": a\n  ? command\n  : b\n',
    "comment before the list": "tasks: # these\n  # first\n  - name: a\n    command: b\n  # last\n",
    "unicode": "tasks:\n- name: a\n  command: b\n  args: [ä, '🙂']  # ☃\nname: x\n",
    "null field": "tasks:\n- name: a\n  image:\n  command: b  # c\n",
}
WANTED = {
    "nothing": [],
    "one": [{"name": "a", "command": "b", "image": "two", "numGpus": 3}],
    "two": [{"name": "c", "command": ["d", "-x", "1.0", "yes", "0x10", "a: b", "# c"], "securityContext": {"runAsUser": 1}},
            {"name": "a", "command": "b", "args": ["line\nline\n", "", " ", "ä🙂", "~", "null", "22:22", "1e3", "*a", "&b"]}],
    "three": [{"name": "a", "command": "b"}, {"name": "c", "command": "d", "depends": "a", "mounts": [{"name": "m", "path": "/m"}]},
              {"name": "e", "command": "f", "env": {"aB": "x y", "C_D": "-"}, "nodeSelector": {"my.key/x_y": "z"}}],
}  # fmt: skip


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("case", CASES)
def test_whatever_the_style_the_file_says_the_new_tasks(case: str, wanted: str) -> None:
    text, tasks = CASES[case], WANTED[wanted]
    new = saved(text, tasks)
    assert saved(new, tasks) == new
    old_rest, new_rest = (
        {key: value for key, value in plain(load(each, file="x")).items() if key != "tasks"} for each in (text, new)
    )
    assert old_rest == new_rest
    found = tasks_of(new) or []
    assert [task["name"] for task in found] == [task["name"] for task in tasks]
    for task, expected in zip(found, tasks, strict=True):
        assert len([value for value in task.values() if value is not None]) == len(expected)
        for key in ("command", "args", "env"):
            assert as_list(task.get(key)) == as_list(expected.get(key))
    assert ("\r\n" in new) is ("\r\n" in text)
    for comment in ("# yet", "# none", "# end"):
        assert (comment in new) is (comment in text)


def as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def test_an_anchor_that_others_need_is_not_lost() -> None:
    text = "tasks:\n- name: a\n  command: &c [x, y]\nx-copy: *c\n"
    new = saved(text, [{"name": "a", "command": ["z"]}])
    assert plain(load(new, file="x"))["x-copy"] == ["z"]
    with pytest.raises(Conflict, match="anchors"):
        saved("tasks:\n- name: a\n  command: x\n  args: &c [y]\nx-copy: *c\n", [{"name": "a", "command": "x"}])


@pytest.mark.parametrize("tasks", [[{"command": "x"}], ["x"], [{"name": "a"}, {"name": "a"}], [{"name": 1}]])
def test_what_is_no_task_is_refused(tasks: list[Any]) -> None:
    with pytest.raises(InvalidInput):
        saved("tasks: []\n", tasks)


def test_a_saved_job_is_one_commit_with_its_configs(repository: Repository, ann: Author) -> None:
    first = repository.write("sst2", {"main.yml": SST2.encode(), "old.yml": b"a: 1\n"}, ann, create=True)
    tasks = camel(tasks_of(SST2))
    tasks[1]["numGpus"] = 2
    saved = repository.save(
        "sst2", tasks, [{"id": "x", "name": "new.yml", "content": "b: 2\n"}], ann, if_match=first.version
    )
    assert set(saved.paths) == {"sst2/main.yml", "sst2/new.yml"}
    assert [file.path for file in repository.folder("sst2").files] == ["main.yml", "new.yml", "old.yml"]
    assert repository.render("sst2", {}).job.tasks[1].num_gpus == 2
    assert b"# the long one" in repository.read("sst2", "main.yml")
    assert repository.save("sst2", tasks, [], ann).version == saved.version
    with pytest.raises(Conflict):
        repository.save("sst2", [], [], ann, if_match=first.version)


def test_tasks_that_break_a_rule_are_not_saved(repository: Repository, ann: Author) -> None:
    before = repository.create("sst2", ann).version
    with pytest.raises(ValidationFailed) as refused:
        repository.save("sst2", [{"name": "a", "comand": "x"}], [], ann)
    assert refused.value.problems[0].line
    with pytest.raises(NotFound):
        repository.save("sst3", [], [], ann)
    with pytest.raises(InvalidInput):
        repository.save("sst2", None, [{"name": "../x", "content": ""}], ann)
    assert repository.head() == before


def test_a_draft_that_is_no_yaml_must_be_pushed_anew(repository: Repository, ann: Author) -> None:
    broken = textwrap.dedent("tasks: [").encode()
    repository.write("sst2", {"main.yml": broken}, ann, create=True, draft=True)
    with pytest.raises(ValidationFailed):
        repository.save("sst2", [], [], ann)
