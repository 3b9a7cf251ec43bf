"""Every command of the seed, typed as the seed types it, does what the seed says."""

from __future__ import annotations

import base64
import json
import re
import stat
from pathlib import Path

import pexpect
import pytest

from e2e.serving import BIN, DEADLINE_S, PASSWORD, USER, Person, Serving
from seed import SST2

pytestmark = pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")  # pexpect's fork

# Without the GPU that a test's machine may not have, and with a task after it.
MAIN_YML = (
    SST2.removesuffix("   num_gpus: 1\n")
    + """
 - name: after
   image: *mead-gpu
   command: mead-train
   args: ["--config", "${WORK_PATH}/${TASK_NAME}.yml"]
   depends: sst2
   mount:
      name: data
      path: "/data"
      claim: *claim_name
"""
)
SST2_YML = """\
batchsz: 50
basedir: sst2
preproc:
  mxlen: 100
  rev: false
  clean: true
backend: tensorflow
dataset: SST2
loader:
  reader_type: default
"""
# Says what it was given, and prints the file that --config names.
MEAD_TRAIN = """\
echo "mead-train $*"
while [ $# -gt 0 ]; do
  case $1 in
    --basedir) mkdir -p "$2" && echo trained > "$2/model";;
    --config) cat "$2";;
  esac
  shift
done
"""


@pytest.fixture
def person(odin: Serving) -> Person:
    """A newcomer at a machine that can call ``mead-train``."""
    odin.tool("mead-train", MEAD_TRAIN)
    return odin.person()


def terminal(person: Person, *words: str) -> pexpect.spawn[str]:
    program = str(BIN / words[0])
    return pexpect.spawn(program, list(words[1:]), env=person.environment(), encoding="utf-8", timeout=DEADLINE_S)


def signed_in(person: Person, *words: str) -> tuple[str, str]:
    """Type the password when asked for it: what the terminal showed meanwhile, and what came after."""
    child = terminal(person, *words)
    child.expect_exact("odin password: ")
    child.send(PASSWORD + "\r")
    child.expect_exact("\r\n")
    masked = child.before
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before
    return masked, child.before


def local_job(person: Person) -> Path:
    folder = person.home / "jobs" / "sst2"
    folder.mkdir(parents=True)
    (folder / "main.yml").write_text(MAIN_YML)
    (folder / "sst2.yml").write_text(SST2_YML)
    (folder / "after.yml").write_text("backend: tensorflow\n")
    return folder


# ---- the steps -----------------------------------------------------------------------------------------------------


def authenticate(odin: Serving, person: Person) -> None:
    masked, shown = signed_in(person, "odin-auth")
    token = shown.split()[-1]
    assert masked == "*" * len(PASSWORD)
    assert json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))["sub"]
    kept = [person.home / ".config/odin/tokens.json"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in kept] == [0o600]
    again = person.run("odin-auth")
    assert again.line == token, "the kept token is printed and nobody is asked"


def push_new_job_with_git(odin: Serving, person: Person) -> None:
    clone = person.home / "clone"
    person.git("clone", f"{odin.url}/git/jobs.git", str(clone))
    (clone / "sst2").mkdir()
    for path in local_job(person).iterdir():
        (clone / "sst2" / path.name).write_bytes(path.read_bytes())
    person.git("add", ".", cwd=clone)
    person.git("commit", "-m", "sst2", cwd=clone)
    person.git("push", cwd=clone)


def push_files(odin: Serving, person: Person) -> None:
    folder = person.home / "jobs" / "sst2"
    (folder / "sst2.yml").write_text(SST2_YML + "epochs: 3\n")
    pushed = person.run("odin-push", "sst2", str(folder / "sst2.yml"))
    assert pushed.line.startswith("sst2/sst2.yml@")
    assert "epochs: 3" in person.run("odin-show", "sst2", "sst2.yml").out

    person.run("odin-push", "other", str(folder / "main.yml"), code=3)
    assert person.run("odin-push", "-c", "other", str(folder / "main.yml")).line.startswith("other/main.yml@")


def run(odin: Serving, person: Person) -> str:
    handle = person.run("odin-run", "sst2").line
    assert re.fullmatch(r"sst2-[a-z0-9]{8}", handle)
    odin.api().finished(handle)
    return handle


def status(odin: Serving, person: Person, handle: str) -> list[str]:
    shown = person.run("odin-status", handle).out
    tasks = re.findall(rf"{handle}--\S+", shown)
    assert tasks == [f"{handle}--sst2", f"{handle}--after"]
    assert "succeeded" in shown
    assert shown.count("executed") == 2
    return tasks


def data(odin: Serving, person: Person, handle: str, task: str) -> None:
    whole = person.run("odin-data", handle).json
    assert (whole["label"], whole["job"], whole["status"]) == (handle, "sst2", "DONE")
    assert whole["executed"] == [f"{handle}--sst2", f"{handle}--after"]
    one = person.run("odin-data", task).json
    assert (one["label"], one["parent"], one["name"]) == (task, handle, "sst2")
    assert one["image"] == "example/mead-gpu:1"


def events(odin: Serving, person: Person, task: str) -> None:
    shown = person.run("odin-events", task).out
    listed = odin.api().get(f"/v1/resources/{task}/events")["events"]
    assert len(shown.splitlines()) == 1 + len(listed)
    assert len(listed) >= 2


def logs(odin: Serving, person: Person, handle: str) -> None:
    claims, version = odin.folder / "claims", odin.api().pipeline(handle)["version"]
    root = odin.shared / "checkouts" / version
    task = f"{handle}--sst2"
    said = person.run("odin-logs", task).out
    assert said.splitlines()[0] == (
        f"mead-train --basedir {claims}/{task} --config {root}/sst2/sst2.yml --datasets {root}/datasets.yml"
        f" --embeddings {root}/embeddings.yml --logging {root}/logging.json --settings {claims}/mead-settings.json"
        f" --reporting xpctl --xpctl:label {task}"
    )
    assert said.endswith(SST2_YML + "epochs: 3\n")
    assert (claims / task / "model").read_text() == "trained\n"


def clean_up(odin: Serving, person: Person, handle: str) -> None:
    workspace = odin.shared / "runs" / handle
    person.run("odin-cleanup", handle)
    assert workspace.is_dir(), "without -f the files stay"
    person.run("odin-cleanup", "-f", handle)
    assert not workspace.exists()
    assert person.run("odin-status", handle).out


def kill_a_running_one(odin: Serving, person: Person) -> None:
    odin.api().push("slow", {"tasks": [{"name": "sleep", "command": "sleep", "args": ["1000"]}]})
    handle = person.run("odin-run", "slow").line
    odin.api().executing(f"{handle}--sleep")
    person.run("odin-cleanup", "-f", handle)
    assert odin.api().finished(handle)["outcome"] == "cancelled"
    assert dict(odin.bodies()) == {}


def gpus(odin: Serving, person: Person) -> None:
    cards = [card for node in odin.api().get("/v1/nodes")["nodes"] for card in node["gpus"]]
    shown = person.run("odin-gpus").out
    assert all(card["id"] in shown for card in cards)
    assert cards or "there are no GPUs" in shown


def test_every_command_of_the_seed_in_its_order(odin, person):
    authenticate(odin, person)
    push_new_job_with_git(odin, person)
    push_files(odin, person)
    handle = run(odin, person)
    task = status(odin, person, handle)[0]
    data(odin, person, handle, task)
    events(odin, person, task)
    logs(odin, person, handle)
    clean_up(odin, person, handle)
    kill_a_running_one(odin, person)
    gpus(odin, person)


def test_launching_without_a_token_asks_for_the_password_once(odin, person):
    odin.api().push("nlp/sst2", MAIN_YML)
    assert "there is no terminal" in person.run("odin-run", "nlp/sst2", code=4).err
    masked, shown = signed_in(person, "odin-run", "nlp/sst2")
    assert masked == "*" * len(PASSWORD)
    odin.api().finished(shown.split()[-1])
    odin.api().finished(person.run("odin-run", "nlp/sst2").line)


def test_another_username_is_asked_for_with_username(odin, person):
    odin.api().post("/v1/users", {"user": {"username": "dpressel", "password": PASSWORD, "role": "editor"}})
    odin.api().push("nlp/sst2", MAIN_YML)
    signed_in(person, "odin-auth", "--username", "dpressel")
    handle = person.run("odin-run", "--username", "dpressel", "nlp/sst2").line
    assert odin.api().finished(handle)["user"] == "dpressel"


def test_a_wrong_password_is_refused_in_one_line(odin, person):
    child = terminal(person, "odin-auth")
    child.expect_exact("odin password: ")
    child.send("a wrong password\r")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 4
    assert f'wrong user name or password for "{USER}"' in child.before
    assert not (person.home / ".config/odin/tokens.json").exists()


def test_an_expired_token_leads_to_one_prompt(odin, person):
    signed_in(person, "odin-auth")
    path = person.home / ".config/odin/tokens.json"
    kept = json.loads(path.read_text())
    kept[odin.url]["token"] = expired(kept[odin.url]["token"])
    path.write_text(json.dumps(kept))
    masked, shown = signed_in(person, "odin-auth")
    assert masked == "*" * len(PASSWORD)
    assert person.run("odin-auth").line == shown.split()[-1]


def expired(token: str) -> str:
    """The same token as if it had ended long ago; commands look at nothing else of it."""
    head, claims, signature = token.split(".")
    fields = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"exp": 1_000_000_000}
    return f"{head}.{base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip('=')}.{signature}"
