"""What a task leaves at ``$ODIN_OUTPUTS`` is the task's own: no server opens it, whatever it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from e2e.jobs import job, task
from e2e.serving import Serving

SECRET = "a-secret-of-the-server"
HOSTILE = {
    "large": "truncate -s 100M $ODIN_OUTPUTS",
    "no-json": "head -c 5000 /dev/urandom >$ODIN_OUTPUTS",
    "deep": "head -c 100000 /dev/zero | tr '\\0' '[' >$ODIN_OUTPUTS",
    "nan": """echo '{"a": NaN, "b": 1e999, "a": 1}' >$ODIN_OUTPUTS""",
    "link": "ln -s {secret} $ODIN_OUTPUTS",
    "looping": "ln -s $ODIN_OUTPUTS $ODIN_OUTPUTS",
    "pipe": "mkfifo $ODIN_OUTPUTS",
    "device": "mknod $ODIN_OUTPUTS c 1 5 2>/dev/null || ln -s /dev/zero $ODIN_OUTPUTS",
    "folder": "mkdir -p $ODIN_OUTPUTS/deep",
    "closed": "echo '{}' >$ODIN_OUTPUTS && chmod 0 $ODIN_OUTPUTS",
}


def kind(path: Path) -> str:
    return stat.filemode(os.lstat(path).st_mode)[0]


def test_f94_hostile_outputs_are_never_opened_and_last_as_long_as_their_pipeline(fresh: Serving) -> None:
    odin = fresh.start()
    api, secret = odin.api(), odin.folder / "secret"
    secret.write_text(SECRET)
    tasks = [task(name, script.replace("{secret}", str(secret))) for name, script in HOSTILE.items()]
    api.push("outputs", job(*tasks, task("last", "true", *HOSTILE)))
    first = api.finished(api.launch("outputs"))
    assert {one["exitCode"] for one in first["tasks"].values()} == {0}
    again = api.finished(odin.command("odin-resume", first["id"], "--only", "last").line)
    assert again["outcome"] == "succeeded"

    both = first["id"], again["id"]
    told = [api.ask("GET", f"/v1/pipelines/{each}") for each in both]
    for each in (*both, *(f"{pipeline}--{name}" for pipeline in both for name in HOSTILE)):
        told += [api.ask("GET", f"/v1/resources/{each}/{what}") for what in ("data", "events", "logs")]
    assert {answer.status for answer in told} == {200}
    assert not any(SECRET.encode() in answer.body for answer in told)

    kept = {path.name.split("--")[1].removesuffix(".json"): kind(path) for path in outputs(odin, again["id"]).iterdir()}
    kept.pop("device", None)  # who is not root makes a link instead
    files = dict.fromkeys(("large", "no-json", "deep", "nan", "closed"), "-")
    assert kept == files | {"link": "l", "looping": "l", "folder": "d"}
    assert odin.operate("odin-fsck", "--json").json["clean"]
    for each in both:
        odin.command("odin-cleanup", each, "--fs", "--db")
    assert not any(outputs(odin, each).exists() for each in both) and secret.read_text() == SECRET


def outputs(odin: Serving, pipeline: str) -> Path:
    return odin.shared / "runs" / pipeline / ".odin" / "outputs"
