"""Templates from the command line: ``odin-run job --x:lr 0.1``."""

from __future__ import annotations

from pathlib import Path

from e2e.jobs import job, task

SWEEP = Path(__file__).parents[2] / "examples" / "sweep"


def test_the_sweep_example_is_rendered_with_what_the_command_says(odin):
    odin.command("odin-push", "-c", "sweep", str(SWEEP))
    done = odin.command("odin-run", "sweep", "--x:lr", "0.01, 0.3", "--x:epochs=40", "--follow", "--json").json[
        "pipeline"
    ]
    assert (done["outcome"], done["context"]) == ("succeeded", {"lr": "0.01, 0.3", "epochs": "40"})
    assert [one["name"] for one in done["tasks"]] == ["train-1", "train-2", "choose"]
    assert odin.command("odin-logs", f"{done['id']}--choose").out.endswith("best: lr 0.3\n")
    again = odin.api().post("/v1/pipelines", {"pipeline": {"job": "sweep"}, "context": {"lr": [0.01, 0.3]}})["pipeline"]
    assert odin.command("odin-status", again["id"], "--watch", "--json").out.count('"event": "end"') == 1
    assert odin.command("odin-logs", f"{again['id']}--choose").out.endswith("best: lr 0.3\n")
    files = odin.api().get(f"/v1/pipelines/{done['id']}/files")["files"]
    assert [file["name"] for file in files] == ["main.yml", "train.json"]
    assert '"epochs": 40' in odin.command("odin-show", done["id"], "train.json").out
    assert odin.command("odin-show", done["id"]).out.startswith("==> main.yml <==\n")
    odin.command("odin-show", done["id"], "train.jsn", code=3)


def test_a_name_that_is_missing_is_told_with_the_option_that_gives_it(odin):
    odin.command("odin-push", "-c", "missing", str(SWEEP))
    said = odin.command("odin-run", "missing", "--x:lrr", "1", code=8).err
    assert "missing/main.yml.jinja2:8: lr is not in the context; add --x:lr VALUE, or did you mean lrr?" in said
    assert odin.command("odin-show", "missing", "main.yml.jinja2").out == (SWEEP / "main.yml.jinja2").read_text()


def test_a_name_that_nothing_uses_is_warned_of(odin):
    odin.api().push("idle", job(task("a", "true")))
    done = odin.command("odin-run", "idle", "--x:lr", "1", "--follow", "--json").json["pipeline"]
    assert done["warnings"] == ["the job has no templates, so its context is not used: lr"]


def test_f01_what_was_rendered_outlives_a_server_that_is_killed(fresh):
    fresh.start()
    gate = fresh.folder / "gate"
    api = fresh.api()
    main = job(
        task("first", f"until [ -e {gate} ]; do sleep 0.05; done"),
        task("second", 'cat "$ODIN_WORK_PATH/conf"', "first"),
    )
    api.push("job", main, **{"conf.jinja2": "lr is {{ lr }}"})
    handle = fresh.command("odin-run", "job", "--x:lr", "0.1").line
    api.executing(f"{handle}--first")
    fresh.kill()
    gate.touch()
    fresh.start()
    api = fresh.api()
    assert api.finished(handle)["outcome"] == "succeeded"
    assert api.log(f"{handle}--second") == b"lr is 0.1"
    again = api.post(f"/v1/pipelines/{handle}/rerun", {"from": "start"})["pipeline"]["id"]
    assert api.finished(again)["context"] == {"lr": "0.1"}
    api.delete(f"/v1/pipelines/{handle}?fs=true&db=true")
    assert not (fresh.shared / "runs" / handle).exists()
    assert api.get(f"/v1/pipelines/{again}/files")["files"] == [{"name": "conf", "bytes": 9}]
