"""The views in a real terminal, at 80 and 200 columns, dark and light. ``python3 dev.py screens`` keeps the pictures.

They lie in test-output/screens, to be looked at; that they show what they should is tested here by their text.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.jobs import job, task
from e2e.serving import Serving
from e2e.xterm import DARK, INSTALL, LIGHT, THERE, terminal

pytestmark = pytest.mark.skipif(not THERE, reason=f"a real terminal is missing: {INSTALL}")

FOLDER = Path(os.environ.get("ODIN_SCREENS") or Path(__file__).parents[2] / "test-output" / "screens")
SIZES = [pytest.param((80, 24), id="80"), pytest.param((200, 50), id="200")]
LOOKS = [pytest.param(DARK, id="dark"), pytest.param(LIGHT, id="light")]

STEPS = 'for i in $(seq 1 {0}); do echo "epoch $i/{0}  loss 0.$((90 - i))  accuracy 0.$((40 + i))"; sleep 0.15; done'
BAR = "for i in $(seq 1 {0}); do printf '\\r\\033[32m%3d%%|%s| %s/{0} trees' $((100 * i / {0})) '#####' $i; sleep 0.15; done"
BROKEN = """echo checking 1797 rows; sleep 2
echo 'Traceback (most recent call last):'
echo '  File "lint.py", line 31, in <module>'
echo 'ValueError: no labels in column 3'
exit 2"""

DIGITS = job(
    task("fetch", "echo got 1797 images"),
    task("split", "echo 1437 to train, 360 to test", "fetch"),
    task("train-linear", STEPS.format(40), "split"),
    task("train-forest", BAR.format(40), "split"),
    task("lint", BROKEN),
    task("compare", "echo best: forest", "train-linear", "train-forest"),
    task("report", "echo wrote report.html", "compare"),
)
GRID = job(
    *(
        task(f"fold-{number:02}", f"for i in 1 2 3 4 5 6 7 8 9; do echo step $i of fold {number}; sleep 1; done")
        for number in range(60)
    ),
    task("best", "echo best: fold 7", *(f"fold-{number:02}" for number in range(60))),
)
GOOD = job(task("fetch", "echo got 1797 images"), task("train", "echo accuracy 0.97", "fetch"))


@pytest.fixture(scope="module")
def screens() -> Iterator[Serving]:
    serving = Serving()
    try:
        serving.start()
        for name, content in (("digits", DIGITS), ("grid", GRID), ("good", GOOD)):
            serving.api().push(name, content)
        yield serving
    finally:
        serving.close()


def env(serving: Serving) -> dict[str, str]:
    return {**serving.environment(), "ODIN_URL": serving.url, "ODIN_TOKEN": serving.api().token or ""}


def picture(name: str, size: tuple[int, int], colours: tuple[str, str]) -> Path:
    return FOLDER / f"{name}-{size[0]}-{'dark' if colours == DARK else 'light'}.png"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("colours", LOOKS)
def test_a_followed_run(screens: Serving, size: tuple[int, int], colours: tuple[str, str]) -> None:
    with terminal(["odin-run", "digits", "--follow"], env(screens), size=size, colours=colours) as seen:
        lines = seen.shows("✗ lint", "epoch", "trees")
        seen.picture(picture("run-follow", size, colours))
        assert any("train-linear" in line and "epoch" in line for line in lines)
        assert all(len(line) <= size[0] for line in lines)
        end = "\n".join(seen.shows("--first-error"))
        assert "ValueError: no labels in column 3" in end
        assert "2 skipped" in end
        seen.picture(picture("run-follow-end", size, colours))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("colours", LOOKS)
def test_a_watched_pipeline_of_many_tasks(screens: Serving, size: tuple[int, int], colours: tuple[str, str]) -> None:
    pipeline = screens.api().launch("grid")
    try:
        with terminal(["odin-status", pipeline, "--watch"], env(screens), size=size, colours=colours) as seen:
            lines = seen.shows("16 executing", "of fold 10", "… and")
            seen.picture(picture("status-watch", size, colours))
            assert len(lines) <= size[1]
    finally:
        screens.api().post(f"/v1/pipelines/{pipeline}/cancel")
        screens.api().finished(pipeline)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("colours", LOOKS)
def test_the_watched_recent_pipelines(screens: Serving, size: tuple[int, int], colours: tuple[str, str]) -> None:
    api = screens.api()
    good = api.launch("good")
    api.finished(good)
    running = api.launch("digits")
    try:
        api.executing(f"{running}--train-forest")
        with terminal(["odin-status", "--watch"], env(screens), size=size, colours=colours) as seen:
            seen.shows(f"▸ {running}", f"✓ {good}")
            seen.picture(picture("status-watch-all", size, colours))
    finally:
        api.post(f"/v1/pipelines/{running}/cancel")
        api.finished(running)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("colours", LOOKS)
def test_merged_logs(screens: Serving, size: tuple[int, int], colours: tuple[str, str]) -> None:
    pipeline = screens.api().launch("digits")
    screens.api().finished(pipeline)
    with terminal(
        ["odin-logs", pipeline, "-f", "--grep", "loss|Error|images"], env(screens), size=size, colours=colours
    ) as seen:
        seen.shows("epoch 40/40", "train-linear |")
        seen.picture(picture("logs-follow", size, colours))
    with terminal(["odin-logs", pipeline, "--first-error"], env(screens), size=size, colours=colours) as seen:
        seen.shows("checking 1797 rows", "ValueError: no labels")
        seen.picture(picture("logs-first-error", size, colours))
