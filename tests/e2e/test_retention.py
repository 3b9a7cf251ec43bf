"""A server that is told to removes what is old, and says so."""

from __future__ import annotations

import contextlib

from e2e.jobs import SLEEPER, job, task
from e2e.serving import Serving, until
from odin import Client


def test_a_server_removes_what_ended_before_the_days_it_is_told_and_nothing_that_runs(fresh: Serving) -> None:
    fresh.start()
    fresh.api().push("short", job(task("one", "echo done >$ODIN_TASK_PATH/result")))
    fresh.api().push("long", job(SLEEPER))
    old, running = fresh.api().launch("short"), fresh.api().launch("long")
    fresh.api().executing(f"{running}--slow")
    fresh.api().finished(old)
    assert (fresh.shared / "runs" / old / "one" / "result").exists()
    fresh.terminate()
    assert "odin.retention" not in fresh.said()

    fresh.settings["RETAIN_DAYS"] = "0.000001"
    fresh.start()
    until(lambda: fresh.api().ask("GET", f"/v1/pipelines/{old}").status == 404, told=fresh.said)
    until(lambda: 'odin_retention_removed_total{reason="age"} 1' in fresh.api().ask("GET", "/metrics").body.decode())
    assert not (fresh.shared / "runs" / old).exists()
    assert not (fresh.data / "logs" / old).exists()
    assert f"odin.retention: removing {old}, which ended 0.0 days ago: its age" in fresh.said()
    assert fresh.api().executing(f"{running}--slow")["attempt"] == 1
    assert (fresh.shared / "runs" / running).is_dir()
    fresh.api().post(f"/v1/pipelines/{running}/cancel")
    fresh.api().finished(running)


def test_who_watches_is_told_of_what_is_removed(fresh: Serving) -> None:
    fresh.start()
    fresh.api().push("short", job(task("one", "head -c 3000000 /dev/zero >$ODIN_TASK_PATH/result")))
    oldest = fresh.api().launch("short")
    fresh.api().finished(oldest)
    youngest = fresh.api().launch("short")
    fresh.api().finished(youngest)
    changes = Client(fresh.url, token=fresh.api().token, warn=lambda _: None).watch()
    with contextlib.closing(changes):
        assert "ready" in (change.event for change in changes)
        fresh.terminate()
        fresh.settings["RETAIN_BYTES"] = "4M"
        fresh.start()
        removed = next(change for change in changes if change.event == "removed")
    assert removed.data == {"id": oldest}
    assert fresh.api().pipeline(youngest)["outcome"] == "succeeded"
