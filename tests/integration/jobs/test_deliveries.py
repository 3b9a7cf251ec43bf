"""What tasks are given of a job where they see no checkout."""

import pytest

from odin.jobs.deliveries import Deliveries
from odin.model.errors import NotFound
from odin.model.ids import JobPath, Sha

JOB = JobPath("nlp/sst2")
MAIN = b"tasks:\n  - {name: a, command: 'true'}\n"


@pytest.fixture
def version(repository, ann):
    repository.write("other", {"main.yml": MAIN, "big.bin": b"x" * 1000}, ann, create=True)
    files = {
        "main.yml": MAIN,
        "train.sh": b"#!/bin/sh\n",
        "conf/a.json.jinja2": b'{"lr": {{ lr }}}',
        "kept.jinja2": b"{{ raw }}",
        "data/x.bin": b"\xff\x00",
    }
    return repository.write(JOB, files, ann, create=True).version


def test_the_jobs_folder_comes_with_its_bytes_and_modes_and_no_other_job(repository, version):
    found = Deliveries(repository).files(version, JOB, {})
    assert found == {
        "nlp/sst2/main.yml": (MAIN, False),
        "nlp/sst2/train.sh": (b"#!/bin/sh\n", True),
        "nlp/sst2/conf/a.json.jinja2": (b'{"lr": {{ lr }}}', False),
        "nlp/sst2/kept.jinja2": (b"{{ raw }}", False),
        "nlp/sst2/data/x.bin": (b"\xff\x00", False),
    }


def test_rendered_files_take_the_place_of_their_templates(repository, version):
    found = Deliveries(repository).files(version, JOB, {"conf/a.json": '{"lr": 0.1}'})
    assert found["nlp/sst2/conf/a.json"] == (b'{"lr": 0.1}', False)
    assert "nlp/sst2/conf/a.json.jinja2" not in found
    assert "nlp/sst2/kept.jinja2" in found


def test_sizes_are_those_of_the_files(repository, version):
    deliveries = Deliveries(repository)
    rendered = {"conf/a.json": "{é}"}
    files = deliveries.files(version, JOB, rendered)
    assert deliveries.sizes(version, JOB, rendered) == {path: len(content) for path, (content, _) in files.items()}


def test_files_at_the_root_come_along(repository, plumbing, version):
    job = str(plumbing.store[version].tree["nlp"].id)
    file, link = plumbing.blob(b"- a\n"), plumbing.blob(b"nlp")
    lines = ("100644", b"datasets.yml", file), ("120000", b"link", link), ("40000", b"nlp", job)
    root = plumbing.commit(plumbing.tree(*lines))
    deliveries = Deliveries(repository)
    assert deliveries.root_files(root) == ["datasets.yml"]
    assert deliveries.files(root, JOB, {})["datasets.yml"] == (b"- a\n", False)
    assert deliveries.root_files(version) == []


def test_an_older_commit_gives_its_own_files(repository, ann, version):
    newer = repository.write(JOB, {"train.sh": b"new\n"}, ann).version
    deliveries = Deliveries(repository)
    assert deliveries.files(version, JOB, {})["nlp/sst2/train.sh"][0] == b"#!/bin/sh\n"
    assert deliveries.files(newer, JOB, {})["nlp/sst2/train.sh"][0] == b"new\n"


def test_a_job_that_the_commit_does_not_have_is_said_so(repository, version):
    with pytest.raises(NotFound, match=f"no job gone in the commit {version}"):
        Deliveries(repository).files(version, JobPath("gone"), {})
    with pytest.raises(NotFound, match="no commit"):
        Deliveries(repository).sizes(Sha("0" * 40), JOB, {})
