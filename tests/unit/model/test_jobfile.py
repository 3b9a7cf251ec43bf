from __future__ import annotations

import subprocess
import sys
from textwrap import dedent, indent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odin.model.errors import Problem, ValidationFailed
from odin.model.fields import KINDS
from odin.model.ids import JobPath
from odin.model.job import Job, Mount, Retries, TaskSpec, dump_task, load_task
from odin.model.jobfile import parse, schema, tasks_as_written
from seed import SST2


def read(text: str, path: str = "nlp/sst2") -> Job:
    return parse(dedent(text), path=JobPath(path))


def task(fields: str = "", name: str = "train") -> TaskSpec:
    """The task that has these fields beside a name and a command."""
    return job_of(fields, name).tasks[0]


def job_of(fields: str = "", name: str = "train") -> Job:
    lines = indent(dedent(fields).strip("\n"), "    ")
    command = "" if "command:" in fields else "    command: python\n"
    return read(f"name: job\ntasks:\n  - name: {name}\n{command}{lines}\n")


def problems(text: str, path: str = "nlp/sst2") -> list[Problem]:
    with pytest.raises(ValidationFailed) as raised:
        read(text, path)
    assert raised.value.problems
    return list(raised.value.problems)


def refused(fields: str) -> list[tuple[str, str]]:
    """Path within the task and message of each problem."""
    with pytest.raises(ValidationFailed) as raised:
        job_of(fields)
    return [(problem.path.removeprefix("tasks[0]."), problem.message) for problem in raised.value.problems]


def test_the_seeds_own_example_parses_as_it_stands():
    job = read(SST2)
    assert (job.path, job.name, job.unsupported, job.warnings) == ("nlp/sst2", "sst2", (), ())
    (only,) = job.tasks
    assert (only.image, only.command, only.num_gpus) == ("example/mead-gpu:1", ("mead-train",), 1)
    assert only.args[:2] == ("--basedir", "/data/${TASK_ID}")
    assert only.mounts == (Mount("data", "/data", "data-rw-many"),)


def test_the_example_of_the_documentation_parses():
    job = read(
        """\
        name: sst2
        x-images:
          - &trainer example/trainer:1
        tasks:
          - name: fetch
            command: python
            args: ["${WORK_PATH}/fetch.py", "--out", "${TASK_PATH}"]
          - name: train
            image: *trainer
            command: [python, -m, trainer]
            args: ["--config", "${WORK_PATH}/${TASK_NAME}.yml", "--data", "${RUN_PATH}/fetch"]
            depends: fetch
            mount: {name: data, path: /data, claim: data-rw-many}
            num_gpus: 1
        """
    )
    assert [one.name for one in job.tasks] == ["fetch", "train"]
    assert job.tasks[1].command == ("python", "-m", "trainer")
    assert job.tasks[1].depends == ("fetch",)


@pytest.mark.parametrize("text", ["tasks: []", "tasks:\n", "name: sst2\ntasks: null\n"])
def test_a_job_without_tasks_is_valid(text):
    assert read(text).tasks == ()


def test_a_task_with_nothing_else_has_the_documented_defaults():
    only = task()
    assert only == TaskSpec("train", ("python",))
    assert (only.retries, only.retry_delay_s, only.grace_s) == (Retries(0, 3, 10, 0), 10, 30)
    assert (only.timeout_s, only.pending_timeout_s, only.image_timeout_s, only.lost_after_s) == (None, None, 600, None)


def test_null_is_the_same_as_leaving_a_field_out():
    assert task("image:\ndepends: ~\nenv: null\nmount:\nretries:\ntimeout: ~") == task()


@pytest.mark.parametrize(
    ("fields", "attribute", "value"),
    [
        ("command: python", "command", ("python",)),
        ("command: my program", "command", ("my program",)),
        ("command: [python, -c, 1.10]", "command", ("python", "-c", "1.10")),
        ("args: one", "args", ("one",)),
        (
            "args: [1.10, 010, true, no, ~, '', 1e3, 0x1F]",
            "args",
            ("1.10", "010", "true", "no", "~", "", "1e3", "0x1F"),
        ),
        ("env: {A: 1.10, B: true, C: 12:30, D: }", "env", {"A": "1.10", "B": "true", "C": "12:30", "D": ""}),
        ("image: example/x:1.10", "image", "example/x:1.10"),
        ("mount: {name: d, path: /d}", "mounts", (Mount("d", "/d"),)),
        ("mounts: [{name: d, path: /d, claim: c}]", "mounts", (Mount("d", "/d", "c"),)),
        ("mount: {name: d, path: '${DATA_PATH}/x'}", "mounts", (Mount("d", "${DATA_PATH}/x"),)),
        ("cpu: 1.5", "cpu_m", 1500),
        ("cpu: {requests: 500m, limits: 2}", "cpu_m", 500),
        ("cpu: {limits: 2}", "cpu_m", 2000),
        ("memory: 2Gi", "memory_bytes", 2 * 1024**3),
        ("num_gpus: 2", "num_gpus", 2),
        ("resource_type: pod", "resource_type", "Pod"),
        ("inputs: /a", "inputs", ("/a",)),
        ("retries: 2", "retries", Retries(user=2)),
        ("retries: {node: 1, oom: 2}", "retries", Retries(0, 1, 10, 2)),
        ("retry_delay: 1m", "retry_delay_s", 60),
        ("timeout: 2h", "timeout_s", 7200),
        ("pending_timeout: 1d", "pending_timeout_s", 86400),
        ("grace_period: 0", "grace_s", 0),
        ("image_timeout: 90", "image_timeout_s", 90),
        ("lost_after: 90s", "lost_after_s", 90),
    ],
)
def test_a_field_is_read(fields, attribute, value):
    assert getattr(task(fields), attribute) == value


@pytest.mark.parametrize(
    ("fields", "cluster"),
    [
        ("node_selector: {gpu: a100, zone/b: 1}", {"node_selector": {"gpu": "a100", "zone/b": "1"}}),
        ("tolerations: [{key: gpu, tolerationSeconds: 5}]", {"tolerations": [{"key": "gpu", "tolerationSeconds": 5}]}),
        ("pull_policy: ifnotpresent", {"pull_policy": "IfNotPresent"}),
        ("security_context: {fsGroup: 1, run_as_user: 2}", {"security_context": {"fs_group": 1, "run_as_user": 2}}),
        ("service_account: bot", {"service_account": "bot"}),
        ("priority: -5", {"priority": -5}),
        ("labels: {run: 007}", {"labels": {"run": "007"}}),
        ("annotations: {a: b}", {"annotations": {"a": "b"}}),
        (
            "secret: {name: k, path: /k, subPath: a, mode: 0400}",
            {"secrets": [{"name": "k", "path": "/k", "sub_path": "a", "mode": 0o400}]},
        ),
        ("config_maps: [{name: k, path: /k}]", {"config_maps": [{"name": "k", "path": "/k"}]}),
        (
            "ephemVolume: {name: s, medium: memory, size_limit: 1Gi}",
            {"ephem_volumes": [{"name": "s", "type": "emptyDir", "medium": "Memory", "size_limit": 1024**3}]},
        ),
        ("cpu: {requests: 1, limits: 2}", {"cpu_limit_m": 2000}),
        ("memory: {limits: 1Ki}", {"memory_limit_bytes": 1024}),
        ("translate: false", {"translate": False}),
    ],
)
def test_what_only_a_cluster_knows_is_kept_for_it(fields, cluster):
    job = job_of(fields)
    assert job.tasks[0].cluster == cluster
    assert job.unsupported == ()


def test_fields_match_in_camel_case_too():
    fields = (
        "numGpus: 1\nretryDelay: 5\nmounts: [{name: d, path: /d}]\nresourceType: pod\nsecurityContext: {runAsUser: 1}"
    )
    only = task(fields)
    assert (only.num_gpus, only.retry_delay_s, only.cluster) == (1, 5, {"security_context": {"run_as_user": 1}})


def test_names_of_the_authors_own_are_never_changed():
    fields = "env: {numGpus: a, num_gpus: b}\nlabels: {fooBar: a, foo_bar: b}\noutputs: {bestModel: /a, best_model: /b}"
    only = task(fields)
    assert only.env == {"numGpus": "a", "num_gpus": "b"}
    assert only.cluster["labels"] == {"fooBar": "a", "foo_bar": "b"}
    assert only.outputs == {"bestModel": "/a", "best_model": "/b"}


def test_the_job_has_a_name_a_policy_and_a_timeout():
    job = read("name: other\nonFailure: continue\ntimeout: 1h\ntasks: []\n")
    assert (job.name, job.on_failure, job.timeout_s) == ("other", "continue", 3600)


@pytest.mark.parametrize(
    ("path", "name"), [("nlp/sst2", "sst2"), ("NLP/SST_2.v1", "sst-2-v1"), ("a..b", "a-b"), ("x", "x")]
)
def test_the_folder_gives_the_name(path, name):
    assert read("tasks: []", path).name == name


def test_a_folder_that_gives_no_name_needs_one_in_the_file():
    (problem,) = problems("tasks: []", "2024")
    assert "add a line like name: job-2024" in problem.message
    assert read("name: job-2024\ntasks: []", "2024").name == "job-2024"


def test_a_merge_gives_tasks_their_defaults():
    job = read(
        """\
        x-defaults: &defaults
          image: example/x:1
          retries: 2
        tasks:
          - {<<: *defaults, name: a, command: x}
          - {<<: *defaults, name: b, command: x, retries: 0}
        """
    )
    assert [(one.image, one.retries.user) for one in job.tasks] == [("example/x:1", 2), ("example/x:1", 0)]


def test_a_mistake_in_an_anchor_is_said_once():
    found = problems(
        "x-e: &e {1A: x}\ntasks:\n  - {name: a, command: x, env: *e}\n  - {name: b, command: x, env: *e}\n"
    )
    assert [(problem.line, problem.path) for problem in found] == [(1, "tasks[0].env.1A")]


def test_names_of_dependencies_may_have_a_caret_and_repeat():
    job = read("tasks:\n  - {name: a, command: x}\n  - {name: b, command: x, depends: [^a, a]}\n")
    assert job.tasks[1].depends == ("a",)


def test_a_reference_makes_a_dependency_and_is_not_supported_yet():
    job = read(
        """\
        tasks:
          - {name: a, command: x}
          - {name: b, command: x}
          - {name: c, command: x}
          - name: d
            command: x
            depends: [c]
            args: ["^a.outputs.data", "--lr={^b.outputs.lr}", "{^c.outputs.x}"]
            env: {PARENT: ^parent}
        """
    )
    assert job.tasks[3].depends == ("c", "a", "b")
    assert [(problem.path, problem.line, problem.column) for problem in job.unsupported] == [
        ("tasks[3].args[0]", 8, 12),
        ("tasks[3].args[1]", 8, 31),
        ("tasks[3].args[2]", 8, 55),
        ("tasks[3].env.PARENT", 9, 19),
    ]
    assert "references (^a.outputs.data)" in job.unsupported[0].message


@pytest.mark.parametrize(
    "place", ["command: ['^nobody.x']", "args: '{^nobody.x}'", "inputs: ^nobody.x", "env: {A: ^nobody.x}"]
)
def test_a_reference_to_no_task_is_an_error(place):
    ((_, message),) = refused(place)
    assert message == 'task "train" depends on "nobody"; no task has that name'


def test_a_reference_to_itself_is_an_error():
    ((path, message),) = refused("args: [x, ^train.outputs.x]")
    assert (path, "itself" in message) == ("args[1]", True)


@pytest.mark.parametrize("text", ["^", "^abc", "a^b.c", "^Upper.x", "2^a.b", "{a^b.c}", "^a."])
def test_what_only_looks_like_a_reference_is_text(text):
    job = job_of(f"args: ['{text}']")
    assert job.tasks[0].args == (text,)
    assert job.unsupported == ()


@pytest.mark.parametrize(
    ("fields", "path", "feature"),
    [
        ("outputs: {model: /x}", "outputs", "outputs"),
    ],
)
def test_what_odin_cannot_do_yet_is_named_with_its_place(fields, path, feature):
    (problem,) = job_of(fields).unsupported
    assert problem.path == f"tasks[0].{path}"
    assert feature in problem.message
    assert (problem.file, problem.line) == ("main.yml", 5)


def test_all_problems_of_a_file_come_at_once_in_its_order():
    found = problems(
        """\
        timeot: 1h
        tasks:
          - name: a
            command: x
            numGpus: many
            depends: [b, nobody]
            args: [$TASK_NAM]
          - name: b
            comand: x
            depends: [a]
          - just a string
          - {name: Bad Name, command: [], retries: {usr: 1}}
        """
    )
    assert [(problem.path, problem.line) for problem in found] == [
        ("timeot", 1),
        ("tasks[0].numGpus", 5),
        ("tasks[0].depends[0]", 6),
        ("tasks[0].depends[1]", 6),
        ("tasks[0].args[0]", 7),
        ("tasks[1].comand", 9),
        ("tasks[2]", 11),
        ("tasks[3].name", 12),
        ("tasks[3].command", 12),
        ("tasks[3].retries.usr", 12),
    ]


def test_the_error_itself_has_the_first_place_and_how_many_more():
    with pytest.raises(ValidationFailed) as raised:
        parse("tasks:\n - {name: a}\n - {name: b}\n", path=JobPath("x"), file="x/main.yml")
    assert str(raised.value) == "x/main.yml:2:4: command is missing (at tasks[0].command) (and 1 more)"


def test_a_task_that_is_wrong_still_counts_for_those_that_depend_on_it():
    (problem,) = problems("tasks:\n  - {name: Bad_Name, command: x}\n  - {name: b, command: x, depends: Bad_Name}\n")
    assert problem.path == "tasks[0].name"


def test_wrong_yaml_does_not_hide_wrong_fields():
    found = problems("tasks:\n  - {name: a, name: b, command: *x, cpus: 2}\n")
    assert [(problem.line, problem.column) for problem in found] == [(2, 15), (2, 33), (2, 37)]


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ("cpus: 1", "cpus", "did you mean cpu?"),
        ("numGpu: 1", "numGpu", "did you mean num_gpus"),
        ("zzzzzz: 1", "zzzzzz", "there are name, image, command"),
        ("mount: {name: a, path: /a, claims: b}", "mount.claims", "did you mean claim?"),
        ("mount: {name: a, path: a}", "mount.path", "must be absolute"),
        ("mount: {name: a}", "mount.path", "is missing"),
        ("mount: /a", "mount", "a mapping like {name: data"),
        ("image: [a]", "image", "not a list"),
        ("image: ''", "image", "is empty"),
        ("args: {a: b}", "args", "a list of texts"),
        ("args: [[a]]", "args[0]", "not a list"),
        ("command: []", "command", "names no program"),
        ("command: ''", "command", "names no program"),
        ("depends: [a, ^]", "depends[1]", "is empty"),
        ("num_gpus: '1'", "num_gpus", "whole number"),
        ("num_gpus: 1.0", "num_gpus", "whole number"),
        ("num_gpus: true", "num_gpus", "whole number"),
        ("num_gpus: -1", "num_gpus", "from 0"),
        ("num_gpus: 99999999999", "num_gpus", "from 0"),
        ("num_workers: 0", "num_workers", "from 1"),
        ("cpu: 2x", "cpu", "500m"),
        ("cpu: [1]", "cpu", "a mapping like {requests"),
        ("memory: {requests: 512m}", "memory.requests", "did you mean 512Mi"),
        ("timeout: soon", "timeout", "15m"),
        ("timeout: 0", "timeout", "no limit"),
        ("timeout: .inf", "timeout", "duration"),
        ("retries: -1", "retries", "from 0"),
        ("retries: 90", "retries", "at most 99"),
        ("retries: {node: 98, preempt: 0}", None, ""),
        ("retries: {node: 99, preempt: 0}", "retries", "at most 99"),
        ("retries: [1]", "retries", "a mapping like {user"),
        ("translate: yes", "translate", "true or false"),
        ("resource_type: Pods", "resource_type", "did you mean Pod?"),
        ("resource_type: zzz", "resource_type", "choose one of them"),
        ("pull_policy: sometimes", "pull_policy", "Always"),
        ("tolerations: gpu", "tolerations", "must be a mapping"),
        ("labels: [a]", "labels", "must be a mapping"),
        ("secret: {name: a, path: /a, mode: 999}", "secret.mode", "octal"),
        ("ephem_volume: {name: a, type: nfs}", "ephem_volume.type", "emptyDir"),
        ("outputs: {a: ''}", "outputs.a", "is empty"),
        ("env: [A]", "env", "must be a mapping"),
        ("env: {A: [b]}", "env.A", "one text"),
    ],
)
def test_a_wrong_field_gets_its_path_and_a_remedy(fields, path, words):
    if path is None:
        task(fields)
        return
    found = refused(fields)
    assert path in [place for place, _ in found]
    assert words in dict(found)[path]


@pytest.mark.parametrize("name", ["1A", "A-B", "A=B", "'A B'", '"A\\nB"', "''", "é"])
def test_a26_names_of_variables_are_names_of_variables(name):
    ((_, message),) = refused(f"env: {{{name}: x}}")
    assert "no name of a variable" in message


def test_a26_odins_own_variables_are_reserved():
    ((path, message),) = refused("env: {ODIN_TOKEN: x}")
    assert (path, "ODIN_" in message) == ("env.ODIN_TOKEN", True)


def test_a26_variables_that_steer_programs_are_the_tasks_own_business():
    assert task("env: {LD_PRELOAD: x, PATH: /x, PYTHONPATH: y, GIT_DIR: z}").env["LD_PRELOAD"] == "x"


@pytest.mark.parametrize("name", ["a", "train", "a-1", "x9"])
def test_names_of_tasks(name):
    assert task(name=name).name == name


@pytest.mark.parametrize("name", ["Train", "a_b", "a--b", "-a", "a-", "1a", "'a b'", "'../x'", "1.10", "''"])
def test_a01_a_name_that_is_none_is_no_task(name):
    with pytest.raises(ValidationFailed) as raised:
        job_of(name=name)
    assert {problem.path for problem in raised.value.problems} == {"tasks[0].name"}


def test_ids_must_fit_63_characters_with_the_suffix_of_the_last_attempt():
    fits = "t" * (63 - len("job-12345678--") - len("--99"))
    assert task(name=fits).name == fits
    with pytest.raises(ValidationFailed, match=r"shorten its name to 45 characters or the job's to 2 characters"):
        job_of(name=fits + "t")


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_whose_pods_have_names_made_of_theirs_and_more_have_40(kind):
    most = 63 if kind in ("Pod", "Job") else 40
    fits = "t" * (most - len("job-12345678--") - len("--99"))
    assert task(f"resource_type: {kind}", name=fits).name == fits
    with pytest.raises(ValidationFailed, match=f"and {most} fit for a {kind}; shorten its name to {len(fits)} "):
        job_of(f"resource_type: {kind}", name=fits + "t")


@pytest.mark.parametrize(
    "fields", ["resource_type: pytorchJob\nnum_workers: 2", "translate: true", "queue: q", "priority_class: p"]
)
def test_what_only_a_cluster_can_do_is_no_fault_of_a_job(fields):
    assert job_of(fields).unsupported == ()


def test_a_jobs_name_must_leave_room_for_ids():
    assert read(f"name: {'j' * 47}\ntasks: []").name
    (problem,) = problems(f"name: {'j' * 48}\ntasks: []")
    assert "at most 47" in problem.message


@pytest.mark.parametrize("key", ["Name", "name_", "task", "Tasks", "taskss", "on-failure", "onfailure", "timeuot"])
def test_a_top_level_key_near_a_known_one_is_an_error(key):
    found = problems(f"{key}: x\ntasks: []\n")
    assert "did you mean" in found[0].message
    assert (found[0].line, found[0].column) == (1, 1)


@pytest.mark.parametrize("key", ["x-tasks", "x-name", "defaults", "images", "version", "env"])
def test_other_top_level_keys_are_for_anchors(key):
    assert read(f"{key}: [1]\ntasks: []\n").tasks == ()


def test_a_variable_one_letter_off_is_an_error_unless_the_task_sets_it():
    ((path, message),) = refused("args: [x, '${TASK_PAHT}']")
    assert (path, "did you mean ${TASK_PATH}?" in message) == ("args[1]", True)
    assert task("args: ['${TASK_PAHT}', $ODIN_TASK_PAHT]\nenv: {TASK_PAHT: x}").args


def test_variables_are_checked_wherever_they_stand():
    fields = "command: $TASKID\ninputs: $PIPEID\noutputs: {a: $RUNPATH}\nmount: {name: a, path: $ROOTPATH}\nenv: {A: $WORKPATH}"
    assert {path for path, _ in refused(fields)} == {"command", "inputs", "outputs.a", "mount.path", "env.A"}


def test_other_variables_give_one_warning_for_each_task():
    job = job_of("command: sh\nargs: [-c, 'echo $HOME $HOME ${TSK_NAMES} $$USER']")
    assert [warning.split(": ")[0] for warning in job.warnings] == ["main.yml:5:16"] * 2
    assert "$" + "{HOME}" in job.warnings[0]
    assert "did you mean ${TASK_NAME}?" in job.warnings[1]


def test_a_command_that_looks_like_a_shell_line_gives_a_warning():
    (warning,) = job_of("command: python train.py").warnings
    assert "put its arguments into args" in warning


def test_warnings_have_a_limit():
    assert len(job_of(f"args: ['{' '.join(f'$v{i}' for i in range(500))}']").warnings) == 100


def test_f89_an_argument_that_no_program_can_be_given_is_named():
    large = "x" * (128 * 1024)
    ((path, message),) = refused(f"args: [a, {large}]")
    assert (path, "128 KiB" in message) == ("args[1]", True)
    assert refused(f"command: [{large}]")[0][0] == "command[0]"
    assert refused(f"env: {{A: {large}}}")[0][0] == "env.A"


def test_f89_arguments_may_have_one_mebibyte_together():
    lines = "x-a: &a " + "x" * 100_000 + "\ntasks:\n  - name: a\n    command: x\n    args: [{}]\n"
    assert len(read(lines.format(", ".join(["*a"] * 10))).tasks[0].args) == 10
    (problem,) = problems(lines.format(", ".join(["*a"] * 11)))
    assert (problem.path, "together" in problem.message) == ("tasks[0]", True)


def test_a20_a_file_full_of_mistakes_is_answered_in_short():
    assert len(problems("tasks:\n" + "  - {a: 1, b: 2}\n" * 5000)) == 500
    keys = "".join(f"k{i}: , " for i in range(20_000))
    assert len(problems(f"tasks:\n  - {{{keys}}}\n")) == 500
    assert len(problems("tasks:\n  - {name: a, command: x, args: [" + "$TASKID, " * 9 + "]}\n")) == 1
    strays = " ".join(f"$TASK_I{letter}{i}" for i in range(10) for letter in "abcdefg")
    assert read(f"tasks:\n  - {{name: a, command: x, args: ['{strays}']}}\n").warnings


def test_a20_nearly_right_variables_beyond_the_limit_are_left_out():
    tasks = "".join(f"  - {{name: t{i}, command: $TASKID}}\n" for i in range(600))
    assert len(problems(f"tasks:\n{tasks}")) == 500


def test_a20_a_large_job_is_read():
    entry = "  - {{name: t{0}, command: python, args: [--fold, '{0}', '${{TASK_PATH}}'], depends: [t{1}]}}\n"
    tasks = "  - {name: t0, command: python}\n" + "".join(entry.format(i, i - 1) for i in range(1, 10_000))
    assert len(read(f"tasks:\n{tasks}").tasks) == 10_000


def test_a20_the_document_that_kills_libyamls_loader_is_refused_as_a_job():
    program = (
        "from odin.model.errors import ValidationFailed\nfrom odin.model.jobfile import parse\n"
        "try:\n    parse('tasks: ' + '[' * 60_000, path='x')\n"
        "except ValidationFailed as error:\n    print(error.problems[0].line, error.problems[0].column)\n"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (child.returncode, child.stdout.split()) == (0, ["1", "71"])


FIELDS = st.sampled_from(
    [
        "name",
        "command",
        "args",
        "depends",
        "mount",
        "mounts",
        "env",
        "cpu",
        "retries",
        "timeout",
        "num_gpus",
        "labels",
        "tolerations",
        "outputs",
        "inputs",
        "x",
    ]
)
JUNK = st.sampled_from(
    [
        "x",
        "",
        "~",
        "1",
        "-1",
        "1.5",
        "true",
        "[]",
        "{}",
        "[x, [y]]",
        "{name: a}",
        "{a: {b: c}}",
        "^a.b",
        "$TASK_I",
        "[1, 2]",
        "'*'",
    ]
)


@given(st.lists(st.dictionaries(FIELDS, JUNK, max_size=5), max_size=4), st.booleans())
def test_a20_any_fields_give_a_job_or_problems_with_places(entries, flow):
    lines = ["{" + ", ".join(f"{key}: {value}" for key, value in entry.items()) + "}" for entry in entries]
    text = f"tasks: [{', '.join(lines)}]" if flow else "tasks:\n" + "".join(f"  - {line}\n" for line in lines)
    found: tuple[Problem, ...] = ()
    try:
        assert len(parse(text, path=JobPath("x")).tasks) == len(entries)
    except ValidationFailed as error:
        found = tuple(error.problems)
    assert all(problem.line and problem.column and problem.message for problem in found)


def test_a_task_survives_the_store():
    fields = "env: {A: 1}\nmount: {name: d, path: /d}\nretries: 3\nsecret: {name: s, path: /s, mode: 0400}\ntimeout: 5"
    only = task(fields)
    assert load_task(dump_task(only)) == only


def test_the_schema_names_every_field_in_every_spelling():
    fields = schema()["$defs"]["TaskFields"]["properties"]
    assert {"num_gpus", "numGpus", "mount", "mounts", "configMap", "config_maps", "retryDelay"} <= set(fields)
    assert all("description" in field for field in fields.values())
    assert fields["resource_type"]["enum"][0] == "Pod"
    top = schema()
    assert top["required"] == ["tasks"]
    assert {"on_failure", "onFailure"} <= set(top["properties"])
    assert "sub_path" in top["$defs"]["SecretFields"]["properties"]


def test_tasks_as_written_have_camel_case_fields_and_keep_texts():
    text = """\
        name: x
        tasks:
          - name: a
            num_gpus: 2
            args: [1.10, no, "x"]
            env: {my_var: 1.10, MY_VAR: true}
            mount: {name: d, path: /d, sub_path: x}
            security_context: {run_as_user: 0x10}
            node_selector: {some_label: 1}
            config_maps: [{name: c, path: /c, sub_path: x}]
            outputs: {best_model: /x}
            retry_delay: 1.5
            depends:
            zzz_top: ~
          - not a mapping
        """
    assert tasks_as_written(dedent(text)) == [
        {
            "name": "a",
            "numGpus": 2,
            "args": ["1.10", "no", "x"],
            "env": {"my_var": "1.10", "MY_VAR": "true"},
            "mount": {"name": "d", "path": "/d", "subPath": "x"},
            "securityContext": {"runAsUser": 16},
            "nodeSelector": {"some_label": "1"},
            "configMaps": [{"name": "c", "path": "/c", "subPath": "x"}],
            "outputs": {"best_model": "/x"},
            "retryDelay": 1.5,
            "depends": None,
            "zzzTop": None,
        }
    ]


@pytest.mark.parametrize("text", ["", "[]", "tasks:", "tasks: 1", "tasks: {a: b}", "x: 1"])
def test_tasks_as_written_of_a_file_without_tasks_are_none(text):
    assert tasks_as_written(text) == []


def test_tasks_as_written_of_no_yaml_are_refused():
    with pytest.raises(ValidationFailed):
        tasks_as_written("a: [")
