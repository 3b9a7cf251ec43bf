"""Templates: what they become, what they may not do, and what is said of those that are wrong."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from odin.jobs.rendering import PROGRAM, Renderer
from odin.jobs.repository import Repository
from odin.jobs.values import Author
from odin.jobs.workfolders import WorkFolders
from odin.model.errors import Conflict, InvalidInput, NotFound, NotSupported, OdinError, Unavailable, ValidationFailed
from odin.model.ids import JobPath

ESCAPES = (Path(__file__).parent / "escapes.txt").read_text().splitlines()
CONTEXT = {"x": {"a": 1}, "y": ["b", "a"], "lr": "0.1"}
MAIN = b"tasks:\n  - {name: a, command: 'true'}\n"
CANARY = "{{7*7}}"


def render(text, **context):
    return Renderer().render("job", {"file.jinja2": text}, context).files["file"]


def refusal(text, **context):
    with pytest.raises(ValidationFailed) as caught:
        render(text, **context)
    (problem,) = caught.value.problems or (None,)
    return problem or caught.value


# ---- what they become ----------------------------------------------------------------------------------------------


def test_a_file_is_filled_in_and_the_rest_of_it_stays():
    text = "lr: {{ lr }}\n{% for n in sizes %}\n- {{ n + 1 }}\n{% endfor %}\n\ttab, é, '<&>' and ${RUN_PATH}\n"
    assert render(text, lr="0.1", sizes=[1, 2]) == "lr: 0.1\n\n- 2\n\n- 3\n\n\ttab, é, '<&>' and ${RUN_PATH}\n"


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("{{ v | tojson }}", '{"b": [true, null, "é<\'"]}'),
        ("{{ v.b[2] }} {{ v['b'] | length }}", "é<' 3"),
        ("{{ nothing | default('x') }} {{ nothing is defined }}", "x False"),
        ("{% macro m(a) %}<{{ a }}{{ caller() }}>{% endmacro %}{% call m(1) %}!{% endcall %}", "<1!>"),
        ("{% for a, b in v.items() %}{{ loop.index }}{{ a }}{{ loop.cycle('x', 'y') }}{% endfor %}", "1bx"),
        ("{% set n = namespace(i=0) %}{% for _ in range(3) %}{% set n.i = n.i + 1 %}{% endfor %}{{ n.i }}", "3"),
        ("{{ 'a-b'.split('-') | join('+') | upper }} {{ '%.2f' % 1 }} {{ '%s' | format(2) }}", "A+B 1.00 2"),
        ("{% raw %}{{ kept }}{% endraw %}", "{{ kept }}"),
        ("{{ n + 1 }}", str(10**30 + 1)),
        ("{% block b %}{{ dict(a=1).a }}{% endblock %}{{ self.b() }}", "11"),
        ("{{ 'to be or not' | wordwrap(5) }} {{ '\\N{BULLET}' }}", "to be\nor\nnot •"),
    ],
)
def test_what_a_template_may_do(text, made):
    assert render(text, v={"b": [True, None, "é<'"]}, n=10**30) == made


def test_templates_of_a_job_may_include_import_and_extend_one_another():
    files = {
        "a.jinja2": "{% extends 'lib/base.jinja2' %}{% block body %}{% include 'lib/part.jinja2' %}{% endblock %}",
        "b.jinja2": "{% from 'lib/macros.jinja2' import twice %}{{ twice(lr) }}",
        "lib/base.jinja2": "<{% block body %}{% endblock %}>",
        "lib/part.jinja2": "lr={{ lr }}",
        "lib/macros.jinja2": "{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}",
    }
    made = Renderer().render("job", files, {"lr": 1})
    assert (made.files["a"], made.files["b"], made.used) == ("<lr=1>", "11", {"lr"})


# ---- row A-23 ------------------------------------------------------------------------------------------------------


def test_a23_every_escape_of_the_corpus_is_refused():
    assert len(ESCAPES) >= 100
    files = {f"{number}.jinja2": text for number, text in enumerate(ESCAPES)}
    with pytest.raises(ValidationFailed) as caught:
        Renderer().render("job", files | {"whole.txt.jinja2": "whole"}, CONTEXT)
    refused = {problem.file for problem in caught.value.problems}
    assert [text for number, text in enumerate(ESCAPES) if f"job/{number}.jinja2" not in refused] == []
    assert all(problem.line == 1 for problem in caught.value.problems)
    assert "root:" not in str(caught.value.problems)


def test_a23_only_templates_of_the_same_job_can_be_included(repository: Repository, ann: Author):
    repository.write("other", {"main.yml": MAIN, "secret.txt.jinja2": b"s"}, ann, create=True)
    files = {"main.yml": MAIN, "plain.txt": b"{{ 7*7 }}", "a.txt.jinja2": b"{% include which %}"}
    repository.write("job", files, ann, create=True)
    repository.write("job/inner", {"main.yml": MAIN, "secret.txt.jinja2": b"s"}, ann, create=True)
    for which in ("../other/secret.txt.jinja2", "other/secret.txt.jinja2", "inner/secret.txt.jinja2", "plain.txt"):
        with pytest.raises(ValidationFailed, match="there is no template"):
            repository.render("job", {"which": which})


def test_a23_a_value_is_never_taken_for_a_template():
    texts = (CANARY, "{% include 'a' %}", "{# c #}", "${PIPE_ID}", "{^a.b}", "'\"\\", "<b>")
    for text in texts:
        assert render("{{ v }}|{{ w.k[0] }}|{{ v ~ v }}", v=text, w={"k": [text]}) == "|".join((text, text, text * 2))
    assert render("{{ v | tojson }}", v=CANARY) == json.dumps(CANARY)
    assert render("{{ d }}", d={CANARY: CANARY}) == str({CANARY: CANARY})


def test_a23_a_canary_comes_back_verbatim_from_every_field(repository: Repository, ann: Author, tmp_path):
    entry = {"name": "a", "command": CANARY, "args": [CANARY], "env": {"X": CANARY}, "labels": {CANARY: CANARY}}
    files = {"main.yml": json.dumps({"tasks": [entry]}).encode(), f"{CANARY}.txt": CANARY.encode()}
    files |= {f"{CANARY}.yml.jinja2": b"{{ v }}", "jinja2": CANARY.encode(), "x.jinja2.txt": CANARY.encode()}
    author = Author("ann", CANARY)
    version = repository.write("job", files, author, create=True, message=CANARY).version
    made = repository.render("job", {"v": CANARY})
    (task,) = made.job.tasks
    assert (task.command, task.args, task.env["X"]) == ((CANARY,), (CANARY,), CANARY)
    assert task.cluster["labels"] == {CANARY: CANARY}
    assert made.files == {f"{CANARY}.yml": CANARY}
    WorkFolders(repository).ensure(version, JobPath("job"), made.files, tmp_path / "work", below=tmp_path)
    for name in (f"{CANARY}.txt", f"{CANARY}.yml", "jinja2", "x.jinja2.txt"):
        assert (tmp_path / "work" / name).read_text() == CANARY


def probe(folder, before="pass", **facts):
    """What a program that is confined as the one for templates finds; ``facts`` are names and Python."""
    program = folder / "probe.py"
    asked = ", ".join(f"{name!r}: tried(lambda: {code})" for name, code in facts.items())
    program.write_text(
        f"import sys, os, json, socket, signal; sys.path.insert(0, {str(PROGRAM.parent)!r}); import sandbox\n"
        f"{before}; sandbox.confine()\n"
        "def tried(act):\n"
        "    try: return str(act())\n"
        "    except (OSError, ValueError): return 'refused'\n"
        f"print(json.dumps({{'files': {{{asked}}}, 'used': [], 'problems': []}}))\n"
    )
    return Renderer(program).render("job", {f"{name}.jinja2": "" for name in facts}, {}).files


def test_a23_the_program_has_no_environment_no_descriptors_and_can_open_none(tmp_path, monkeypatch):
    monkeypatch.setenv("ODIN_SECRET", "s")
    facts = {
        "env": "{k for k in os.environ if k != 'LC_CTYPE'}",
        "open": "open('/etc/passwd')",
        "socket": "socket.socket()",
        "fds": "[n for n in range(3, 100) if tried(lambda: os.fstat(n)) != 'refused']",
    }
    with (tmp_path / "inherited").open("w") as file:
        file.fileno()
        seen = probe(tmp_path, **facts)
    assert seen == {"env": "set()", "open": "refused", "socket": "refused", "fds": "[]"}


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")


@AS_ROOT
def test_a23_the_program_is_nobody_where_the_server_is_root(tmp_path):
    seen = probe(tmp_path, users="os.getresuid()", groups="[*os.getresgid(), *os.getgroups()]")
    assert seen == {"users": str((65534,) * 3), "groups": str([65534] * 3)}


@AS_ROOT
def test_a23_the_program_cannot_become_root_again(tmp_path):
    seen = probe(
        tmp_path,
        root="os.setresuid(0, 0, 0)",
        limit="sandbox.resource.setrlimit(sandbox.resource.RLIMIT_NOFILE, (100, 100))",
        kill=f"os.kill({os.getpid()}, 0)",
        process="os.fork()",
    )
    assert set(seen.values()) == {"refused"}


@AS_ROOT
def test_a23_nothing_is_rendered_where_root_cannot_become_nobody(tmp_path):
    """As in a container that was left no capability."""
    none = "import ctypes; ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())"
    with pytest.raises(NotSupported, match="renders no templates: it is root"):
        probe(tmp_path, none, users="os.getresuid()")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "{",
        "[]",
        '{"files": {"../x": "y"}, "used": [], "problems": []}',
        '{"files": {}, "used": [], "problems": []}',
    ],
)
def test_a23_what_the_program_answers_is_not_trusted(tmp_path, answer):
    program = tmp_path / "program.py"
    program.write_text(f"print({answer!r})")
    with pytest.raises(ValidationFailed):
        Renderer(program).render("job", {"a.jinja2": ""}, {})


def test_a23_a_program_that_says_too_much_or_nothing_is_ended_with_what_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr("odin.jobs.rendering.WALL_S", 1.0)
    program, left = tmp_path / "program.py", tmp_path / "left"
    for body in ("while True: print('x' * 100000)", "os.close(1); time.sleep(1000)", "time.sleep(1000)"):
        program.write_text(
            "import os, time\n"
            f"if not (pid := os.fork()): time.sleep(1000)\nopen({str(left)!r}, 'w').write(str(pid))\n{body}\n"
        )
        with pytest.raises((ValidationFailed, Unavailable), match=r"cannot be rendered|not done within 1 s"):
            Renderer(program).render("job", {}, {})
        deadline = time.monotonic() + 60
        while is_alive(int(left.read_text())) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not is_alive(int(left.read_text()))


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a23_the_server_never_imports_jinja():
    code = "import sys, odin.main, odin.api.app, odin.api.server; print([m for m in sys.modules if 'jinja' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


# ---- row A-24 ------------------------------------------------------------------------------------------------------

LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ 'a' * 10**9 }}", "256 MiB of memory"),
        (LOOP, "2 s of CPU"),
        ("{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}", "1 MiB together"),
        ("{{ v * 10**9 }}", "256 MiB of memory"),
        ("{{ 10 ** (10 ** v) }}", "2 s of CPU"),
        ("{{ '%999999999d' | format(1) }}", "256 MiB of memory"),
        ("{% set x = [] %}{% for i in range(9) %}{% set x = [x, x] %}{% endfor %}{{ [1] * 10**9 }}", "256 MiB"),
        ("{% include 'file.jinja2' %}", "includes itself"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nested too deeply"),
    ],
)
def test_a24_what_burns_cpu_or_memory_is_refused_with_its_limit(text, said):
    assert said in str(refusal(text, v=9 if "** v" in text else "a"))


def test_a24_many_rendered_files_share_the_limit_of_output():
    files = {f"{number}.jinja2": "{{ 'a' * 300000 }}" for number in range(4)}
    with pytest.raises(ValidationFailed, match="1 MiB together"):
        Renderer().render("job", files, {})


def test_a24_nothing_is_computed_when_a_template_is_pushed(repository: Repository, ann: Author):
    """Its syntax is read, which is bounded by its size and in the same child."""
    costly = {"a.jinja2": b"{{ 'a' * 10**9 }}", "b.jinja2": b"{{ 10**10**9 }}", "c.jinja2": LOOP.encode()}
    repository.write("job", {"main.yml": MAIN, **costly}, ann, create=True)
    deep = {"d.jinja2": b"{{ " + b"(" * 100_000 + b" }}"}
    with pytest.raises(ValidationFailed):
        repository.write("job", deep, ann)


# ---- what is said --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a\n\nlr: {{ lrr }}\n", 3, "lrr is not in the context; add --x:lrr VALUE, or did you mean lr?"),
        ("{{ zzz }}", 1, "zzz is not in the context; add --x:zzz VALUE"),
        ("\n{{ conf.epoch }}", 2, 'there is no "epoch" here; did you mean epochs?'),
        ("{{ conf.zzz }}", 1, 'there is no "zzz" here; there is epochs'),
        ("x\n{{ lr ", 2, "this is no template: unexpected end of template"),
        ("{% if lr %}\n", 1, "this is no template: Unexpected end of template"),
        ("\n{{ lr | flaot }}", 2, "No filter named 'flaot'"),
        ("\n\n{{ 1 / 0 }}", 3, "this fails: ZeroDivisionError: division by zero"),
        ("{{ lr + 1 }}", 1, "this fails: TypeError"),
        ("{% include 'fil.jinja2' %}", 1, 'no template "fil.jinja2" to include; did you mean file.jinja2?'),
        ("{{ lr.__class__ }}", 1, "templates may not do this"),
        ("{{ '\\0' }}", None, "NUL"),
    ],
)
def test_an_error_names_the_line_and_the_remedy(text, line, said):
    problem = refusal(text, lr="0.1", conf={"epochs": 1})
    assert said in problem.message
    assert (problem.file, problem.line) == ("job/file.jinja2", line)


def test_an_error_that_quotes_a_huge_value_is_cut():
    assert len(refusal("{{ [1] | map('x' * 900000) | list }}").message) < 1000


def test_every_template_that_is_wrong_is_named_at_once():
    with pytest.raises(ValidationFailed) as caught:
        Renderer().render("job", {"a.jinja2": "{{ one }}", "b.jinja2": "fine", "c.jinja2": "\n{{ two }}"}, {})
    assert [(each.file, each.line) for each in caught.value.problems] == [("job/a.jinja2", 1), ("job/c.jinja2", 2)]


def test_an_error_in_an_included_part_names_the_part():
    with pytest.raises(ValidationFailed) as caught:
        Renderer().render("job", {"a.jinja2": "\n{% include 'b.jinja2' %}", "b.jinja2": "\n\n{{ one }}"}, {})
    assert [(each.file, each.line) for each in caught.value.problems] == [("job/b.jinja2", 3)] * 2


def test_a_rendered_main_yml_that_is_wrong_shows_its_line(repository: Repository, ann: Author):
    main = b"tasks:\n{% for n in names %}  - name: {{ n }}\n    command: x\n    depends: fetsh\n{% endfor %}"
    repository.write("job", {"main.yml.jinja2": main}, ann, create=True)
    with pytest.raises(ValidationFailed) as caught:
        repository.render("job", {"names": ["fetch", "train"]})
    problem = caught.value.problems[0]
    assert (problem.file, problem.line) == ("job/main.yml (rendered)", 4)
    assert problem.message.endswith('; the line reads "depends: fetsh"')


# ---- jobs ----------------------------------------------------------------------------------------------------------


def test_a_folder_with_a_template_of_main_yml_is_a_job(repository: Repository, ann: Author):
    repository.write("nlp/sst2", {"main.yml.jinja2": b"tasks: [{name: {{ n }}, command: x}]"}, ann, create=True)
    assert repository.jobs() == ["nlp/sst2"]
    assert [file.path for file in repository.folder("nlp/sst2").files] == ["main.yml.jinja2"]
    assert repository.render("nlp/sst2", {"n": "a"}).job.tasks[0].name == "a"
    assert repository.render("nlp/sst2", {}, may_wait=False) is None
    with pytest.raises(Conflict):
        repository.create("nlp/sst2", ann)


def test_a_job_without_templates_is_not_rendered(repository: Repository, ann: Author):
    repository.write("job", {"main.yml": MAIN}, ann, create=True)
    repository.write("job/inner", {"main.yml": MAIN, "a.jinja2": b"{{ x }}"}, ann, create=True)
    made = repository.render("job", {}, may_wait=False)
    assert (made.job.tasks[0].name, made.files) == ("a", {})


@pytest.mark.parametrize(
    ("files", "at_fault", "said"),
    [
        ({"main.yml": MAIN, "main.yml.jinja2": MAIN}, "main.yml.jinja2", "becomes main.yml, and so does main.yml"),
        ({"main.yml": MAIN, "a": b"", "a.jinja2": b""}, "a.jinja2", "becomes a, and so does a; keep one"),
        ({"main.yml": MAIN, "A": b"", "a.jinja2": b""}, "a.jinja2", "and so does A"),
        (
            {"main.yml": MAIN, "a/b": b"", "a.jinja2": b""},
            "a.jinja2",
            "becomes a, where the folder job/a stands; rename one",
        ),
        ({"main.yml": MAIN, "d/.jinja2": b""}, "d/.jinja2", "nothing is left of this name"),
        ({"main.yml": MAIN, ".git.jinja2": b""}, ".git.jinja2", "belongs to git"),
        ({"main.yml": MAIN, "a.jinja2": b"{{ x"}, "a.jinja2", "this is no template"),
        ({"main.yml": MAIN, "a.jinja2": b"\xff"}, "a.jinja2", "UTF-8"),
        ({"main.yml.jinja2": b"{% if %}"}, "main.yml.jinja2", "this is no template"),
    ],
)
def test_what_is_wrong_without_a_context_is_refused_when_it_is_pushed(
    repository: Repository, ann: Author, files, at_fault, said
):
    with pytest.raises(ValidationFailed) as caught:
        repository.write("job", files, ann, create=True)
    (problem,) = caught.value.problems
    assert problem.file == f"job/{at_fault}"
    assert said in problem.message
    assert repository.jobs() == []
    repository.write("job", files, ann, create=True, draft=True)
    with pytest.raises(ValidationFailed):
        repository.render("job", {})


CLASH = "this becomes inner/x, where the job job/inner/x stands; rename one of the two"


def test_a_job_is_refused_where_a_template_of_the_job_around_it_becomes_a_file(repository: Repository, ann: Author):
    repository.write("job", {"main.yml": MAIN, "inner/x.jinja2": b"{{ a }}"}, ann, create=True)
    tip = repository.head()
    writes = [
        lambda: repository.write("job/inner/x", {"main.yml": MAIN}, ann, create=True),
        lambda: repository.write("job/inner/x/y", {"main.yml": MAIN}, ann, create=True),
        lambda: repository.create("job/inner/X", ann),
        lambda: repository.generate("job", "job/inner/x", {"a": 1}, ann),
    ]
    for write in writes:
        with pytest.raises(ValidationFailed) as caught:
            write()
        (problem,) = caught.value.problems
        assert problem.file == "job/inner/x.jinja2"
        assert "this becomes inner/x, where the " in problem.message
    assert repository.head() == tip
    repository.create("job/inner/x2", ann)
    assert repository.render("job", {"a": 1}).files == {"inner/x": "1"}


def test_a_template_is_refused_where_it_becomes_what_a_job_is_called(repository: Repository, ann: Author):
    repository.write("job", {"main.yml": MAIN}, ann, create=True)
    repository.create("job/inner/x", ann)
    with pytest.raises(ValidationFailed) as caught:
        repository.write("job", {"inner/x.jinja2": b""}, ann)
    assert [str(problem) for problem in caught.value.problems] == [f"job/inner/x.jinja2: {CLASH}"]
    assert repository.render("job", {}).job.tasks[0].name == "a"


def test_a_push_with_git_of_a_job_where_a_template_becomes_a_file_is_refused(repository: Repository, ann, clone):
    repository.write("job", {"main.yml": MAIN, "inner/x.jinja2": b""}, ann, create=True)
    clone("pull", "-q")
    (clone.folder / "job/inner/x").mkdir()
    (clone.folder / "job/inner/x/main.yml").write_bytes(MAIN)
    clone("add", ".")
    clone("commit", "-qm", "x")
    assert f"job/inner/x.jinja2: {CLASH}" in clone("push", "-q", check=False)
    clone("mv", "job/inner/x", "job/inner/other")
    clone("commit", "-qam", "y")
    clone("push", "-q")
    assert repository.jobs() == ["job", "job/inner/other"]


def test_a_job_around_that_is_a_draft_does_not_keep_others_out(repository: Repository, ann: Author):
    files = {"main.yml": b"tasks: 1", "x.jinja2": b"", "x/y": b""}
    repository.write("job", files, ann, create=True, draft=True)
    repository.create("job/inner", ann)
    repository.create("job/x/z", ann)
    assert repository.jobs() == ["job", "job/inner", "job/x/z"]


def test_a_template_with_two_endings_loses_one(repository: Repository, ann: Author):
    repository.write("job", {"main.yml": MAIN, "a.jinja2.jinja2": b"{% raw %}{{ x }}{% endraw %}"}, ann, create=True)
    assert repository.render("job", {}).files == {"a.jinja2": "{{ x }}"}


def test_templates_of_more_than_a_mebibyte_are_refused(repository: Repository, ann: Author):
    files = {f"{number}.jinja2": b"#" * 600_000 for number in range(2)}
    with pytest.raises(ValidationFailed, match="1 MiB"):
        repository.write("job", {"main.yml": MAIN, **files}, ann, create=True)


def test_a_push_with_git_is_checked_for_templates(repository: Repository, clone):
    (clone.folder / "job").mkdir()
    (clone.folder / "job" / "main.yml.jinja2").write_text("tasks:\n{% for %}\n")
    clone("add", ".")
    clone("commit", "-qm", "x")
    assert "job/main.yml.jinja2:2: this is no template" in clone("push", "-q", check=False)
    assert clone.code != 0
    (clone.folder / "job" / "main.yml.jinja2").write_text("tasks: [{name: a, command: {{ c }}}]\n")
    clone("commit", "-qam", "y")
    clone("push", "-q")
    assert repository.render("job", {"c": "true"}).job.tasks[0].command == ("true",)


def test_a_job_keeps_its_age_when_its_main_yml_becomes_a_template(repository: Repository, ann: Author):
    repository.create("job", ann)
    born = repository.folder("job").created_at
    files = {"main.yml": None, "main.yml.jinja2": b"tasks: []"}
    repository.write("job", files, ann)
    assert repository.folder("job").created_at == born
    fresh = Repository.open(repository.path)
    assert fresh.folder("job").created_at == born
    fresh.close()
    with pytest.raises(Conflict, match="nothing without"):
        repository.write("job", {"main.yml.jinja2": None}, ann)


def test_saving_a_job_whose_main_yml_is_a_template_leaves_it(repository: Repository, ann: Author):
    repository.write("job", {"main.yml.jinja2": b"tasks: []"}, ann, create=True)
    repository.save("job", [], [{"name": "notes.txt", "content": "n"}], ann)
    assert repository.read("job", "notes.txt") == b"n"
    with pytest.raises(Conflict, match="come from a template"):
        repository.save("job", [{"name": "a", "command": "x"}], [], ann)


# ---- work folders --------------------------------------------------------------------------------------------------


@pytest.fixture
def sweep(repository: Repository, ann: Author):
    files = {"main.yml": MAIN, "run.sh.jinja2": b"#!/bin/sh\necho {{ lr }}\n", "conf/a.yml.jinja2": b"{{ lr }}"}
    files |= {"conf/plain.txt": b"p", "conf/deep/b.jinja2": b"{{ lr }}"}
    repository.write("job", files, ann, create=True)
    repository.write("job/inner", {"main.yml": MAIN, "x.jinja2": b"{{ lr }}"}, ann, create=True)
    return repository.render("job", {"lr": 1}).files


def listed(folder):
    return {str(each.relative_to(folder)): each.read_text() for each in folder.rglob("*") if each.is_file()}


def test_a_work_folder_has_the_rendered_files_in_their_place(repository: Repository, sweep, tmp_path):
    works, path = WorkFolders(repository), tmp_path / "runs" / "p" / ".odin" / "work"
    path.parent.mkdir(parents=True)
    works.ensure(repository.head(), JobPath("job"), sweep, path, below=tmp_path / "runs")
    found = listed(path)
    assert {name: found[name] for name in sweep} == sweep
    rest = {
        "main.yml": MAIN.decode(),
        "conf/plain.txt": "p",
        "inner/main.yml": MAIN.decode(),
        "inner/x.jinja2": "{{ lr }}",
    }
    assert found == sweep | rest
    assert path.joinpath("run.sh").stat().st_mode & 0o777 == 0o555
    assert path.joinpath("conf/a.yml").stat().st_mode & 0o777 == 0o444


def test_a_work_folder_that_stands_stays_and_one_that_differs_is_made_again(repository: Repository, sweep, tmp_path):
    works, path = WorkFolders(repository), tmp_path / "work"

    def ensure():
        works.ensure(repository.head(), JobPath("job"), sweep, path, below=tmp_path)
        return path.stat().st_ino

    first = ensure()
    assert ensure() == first
    changed = path / "conf" / "a.yml"
    changed.chmod(0o600)
    changed.write_text("other")
    (tmp_path / "work.new").mkdir()
    (tmp_path / "work.new" / "half").touch()
    ensure()
    assert listed(path)["conf/a.yml"] == "1"
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("work")] == ["work"]


@pytest.mark.parametrize("swapped", ["p", "p/.odin"])
def test_a05_a_work_folder_is_never_made_through_a_link(repository: Repository, sweep, tmp_path, swapped):
    runs, elsewhere = tmp_path / "runs", tmp_path / "elsewhere"
    (elsewhere / ".odin").mkdir(parents=True)
    link = runs / swapped
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with pytest.raises(OdinError):
        WorkFolders(repository).ensure(
            repository.head(), JobPath("job"), sweep, runs / "p" / ".odin" / "work", below=runs
        )
    assert listed(elsewhere) == {}


# ---- generated jobs ------------------------------------------------------------------------------------------------


def test_a_job_is_generated_from_a_template_by_one_commit(repository: Repository, sweep, ann: Author):
    before = repository.head()
    written = repository.generate("job", "made/one", {"lr": 5}, ann)
    assert written.version == repository.head() != before
    found = {file.path: file.executable for file in repository.folder("made/one").files}
    assert found == {
        "conf/a.yml": False,
        "conf/deep/b": False,
        "conf/plain.txt": False,
        "main.yml": False,
        "run.sh": True,
    }
    assert repository.read("made/one", "run.sh") == b"#!/bin/sh\necho 5\n"
    assert repository.render("made/one", {}).job.tasks[0].name == "a"
    assert sum(written.sizes) == sum(file.size for file in repository.folder("made/one").files)


def test_a_generated_job_is_checked_and_never_takes_the_place_of_another(repository: Repository, ann: Author):
    repository.write("job", {"main.yml.jinja2": b"tasks: [{name: a, command: x, depends: {{ d }}}]"}, ann, create=True)
    tip = repository.head()
    with pytest.raises(ValidationFailed, match="depends"):
        repository.generate("job", "made", {"d": "b"}, ann)
    with pytest.raises(ValidationFailed, match="not in the context"):
        repository.generate("job", "made", {}, ann)
    with pytest.raises(Conflict, match="exists already"):
        repository.generate("job", "job", {"d": "[]"}, ann)
    with pytest.raises(InvalidInput):
        repository.generate("job", "../made", {"d": "[]"}, ann)
    with pytest.raises(NotFound):
        repository.generate("jbo", "made", {}, ann)
    assert repository.head() == tip
