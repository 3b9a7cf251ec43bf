"""What a resumed pipeline keeps: links to files and logs of the one before it, made as often as need be."""

import os
import shutil
import stat
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from builders import spec, submission
from odin.engine.keepsakes import Keepsakes, _bring
from odin.engine.layout import Layout, begin_run
from odin.model.errors import Conflict
from odin.model.ids import PipelineId
from odin.model.states import TaskStatus
from odin.model.world import Kept, fresh

OLD, NEW = PipelineId("job-00000001"), PipelineId("job-00000002")
TASKS = (spec("fetch"), spec("fetch-more"), spec("train", "fetch"))


class Two:
    """The folders of a pipeline that is over and of one that resumes it."""

    def __init__(self, root):
        self.layout, self.logs = Layout(root / "shared"), root / "logs"
        self.layout.runs.mkdir(parents=True)
        for pipeline in (OLD, NEW):
            begin_run(self.layout, pipeline, [task.name for task in TASKS])
        for name in ("fetch", "fetch-more", "train"):
            self.write(self.layout.task(OLD, name) / "deep" / "data", name)
        self.keepsakes = Keepsakes(self.layout, self.logs)

    def write(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def bring(self, *names):
        kept = {name: Kept(OLD, TaskStatus.EXECUTED, "kept") for name in names}
        made = replace(submission(*TASKS, id=NEW), rerun_of=OLD, kept=kept)
        self.keepsakes.bring(fresh(made), [task.name for task in TASKS])

    def files(self, below):
        return sorted(str(path.relative_to(below)) for path in below.rglob("*") if not path.is_dir())


@pytest.fixture
def two(tmp_path):
    return Two(tmp_path)


def test_the_folders_of_kept_tasks_come_along_and_those_of_others_do_not(two):
    two.bring("fetch")
    assert two.files(two.layout.run(NEW)) == [".odin/task_ids", "fetch/deep/data"]


def test_what_no_task_owns_comes_along(two):
    two.write(two.layout.run(OLD) / "shared.csv", "1,2")
    two.bring("fetch")
    assert (two.layout.run(NEW) / "shared.csv").read_text() == "1,2"


def test_keeping_costs_no_space_and_outlives_what_it_came_from(two):
    two.bring("fetch")
    old, new = (two.layout.task(name, "fetch") / "deep/data" for name in (OLD, NEW))
    assert old.stat().st_ino == new.stat().st_ino
    shutil.rmtree(two.layout.run(OLD))
    assert new.read_text() == "fetch"


def test_it_may_be_done_again_at_any_time(two):
    two.bring("fetch")
    (two.layout.task(NEW, "fetch") / "deep/data").unlink()
    for _ in range(2):
        two.bring("fetch")
    assert (two.layout.task(NEW, "fetch") / "deep/data").read_text() == "fetch"


def test_logs_and_outputs_of_every_attempt_are_called_after_the_new_pipeline(two):
    folder = two.logs / OLD
    for name in ("fetch.log", "fetch--2.log", "fetch--2.json", "fetch.sidecar.log", "fetch-more.log", "train.log"):
        two.write(folder / f"{OLD}--{name}", name)
    two.write(two.layout.outputs(f"{OLD}--fetch--2"), "{}")
    two.bring("fetch")
    names = ["fetch--2.json", "fetch--2.log", "fetch.log", "fetch.sidecar.log"]
    assert two.files(two.logs / NEW) == [f"{NEW}--{name}" for name in names]
    assert two.layout.outputs(f"{NEW}--fetch--2").read_text() == "{}"


def test_f94_a_folder_in_the_place_of_the_outputs_comes_along_under_the_new_name(two):
    two.write(two.layout.outputs(f"{OLD}--fetch") / "deep" / "file", "x")
    two.bring("fetch")
    assert (two.layout.outputs(f"{NEW}--fetch") / "deep" / "file").read_text() == "x"


def test_links_are_kept_as_links_and_nothing_is_followed(two, tmp_path):
    outside = tmp_path / "outside"
    two.write(outside / "secret", "x")
    (two.layout.task(OLD, "fetch") / "away").symlink_to(outside)
    two.bring("fetch")
    found = two.layout.task(NEW, "fetch") / "away"
    assert found.is_symlink() and found.readlink() == outside
    assert two.files(outside) == ["secret"]


def test_a_folder_that_was_made_a_link_in_the_new_pipeline_leads_nowhere(two, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    two.layout.task(NEW, "fetch").symlink_to(outside)
    with pytest.raises(Exception, match="could not be kept"):
        two.bring("fetch")
    assert two.files(outside) == []


def test_modes_of_folders_stay(two):
    deep = two.layout.task(OLD, "fetch") / "deep"
    deep.chmod(0o555)
    two.bring("fetch")
    assert stat.S_IMODE((two.layout.task(NEW, "fetch") / "deep").stat().st_mode) == 0o555
    for folder in (deep, two.layout.task(NEW, "fetch") / "deep"):
        folder.chmod(0o755)


def test_what_was_removed_meanwhile_is_told(two):
    shutil.rmtree(two.layout.run(OLD))
    with pytest.raises(Conflict, match=f"what {OLD} left was removed"):
        two.bring("fetch")


def test_folders_without_end_are_refused(two):
    here = two.layout.task(OLD, "fetch")
    for _ in range(300):
        here = here / "d"
        here.mkdir()
    with pytest.raises(Conflict, match="nested"):
        two.bring("fetch")


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a second file system")
def test_where_a_file_cannot_be_linked_it_is_copied_whole(tmp_path):
    """Two file systems stand for one that has no hard links."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        source = Path(other)
        (source / "data").write_bytes(b"x" * 3_000_000)
        (source / "data").chmod(0o640)
        os.utime(source / "data", (1000, 1000))
        (source / "link").symlink_to("data")
        _bring(source, tmp_path, str)
        _bring(source, tmp_path, str)
    found = (tmp_path / "data").stat()
    assert (found.st_size, stat.S_IMODE(found.st_mode), found.st_mtime) == (3_000_000, 0o640, 1000)
    assert (tmp_path / "link").readlink() == Path("data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "link"]
