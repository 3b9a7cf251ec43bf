"""The job of the seed, as it stands there but for its anchors, on a real API server and a node that runs its program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clusters import Place
from e2e.serving import make_tool
from seed import SST2

FILES = {
    "sst2/main.yml": SST2,
    "sst2/sst2.yml": "batchsz: 50\nbasedir: sst2\nbackend: tensorflow\ndataset: SST2\n",
    "datasets.yml": "- label: SST2\n",
    "embeddings.yml": "- label: w2v-gn\n",
    "logging.json": '{"version": 1}\n',
}
# Says what it was given and reads every file that it was told of; what it trains goes where --basedir says.
MEAD_TRAIN = """\
echo "mead-train $*"
echo "gpus: $NVIDIA_VISIBLE_DEVICES"
while [ $# -gt 0 ]; do
  case $1 in
    --basedir) mkdir -p "$2" && echo trained > "$2/model" || exit 1;;
    --config|--datasets|--embeddings|--logging|--settings) cat "$2" || exit 1;;
  esac
  shift 2
done
"""


@pytest.fixture
def mead_train(tools: Path) -> None:
    make_tool(tools / "mead-train", MEAD_TRAIN)


@pytest.fixture(params=[None, "odin-shared"], ids=["files are delivered", "files are on the data claim"])
def place(request: pytest.FixtureRequest, mead_train: None, fresh: Callable[..., Place]) -> Place:
    settings = {"DATA_CLAIM": request.param} if request.param else {}
    one: Place = fresh(**settings)
    if request.param:
        one.serving.shared.mkdir()
        one.claim(request.param, one.serving.shared)
    one.serving.start()
    return one


def test_the_job_of_the_seed_runs_to_its_end(place: Place, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "mead-settings.json").write_text('{"datacache": "/data"}\n')
    place.claim("data-rw-many", data)
    push_with_git(place, tmp_path / "clone")

    pipeline = place.command("odin-run", "sst2").line
    done = place.api.finished(pipeline)
    task = f"{pipeline}--sst2"
    assert (done["outcome"], done["tasks"]["sst2"]["exitCode"]) == ("succeeded", 0), place.kubectl("get", "events")

    pod = place.json("get", "pod", task)
    (container,) = pod["spec"]["containers"]
    assert container["image"] == "example/mead-gpu:1"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes[mounts["/data"]]["persistentVolumeClaim"] == {"claimName": "data-rw-many"}

    first, gpus, *read = place.command("odin-logs", task).out.splitlines()
    assert first == (
        f"mead-train --basedir /data/{task} --config /odin/root/sst2/sst2.yml --datasets /odin/root/datasets.yml"
        f" --embeddings /odin/root/embeddings.yml --logging /odin/root/logging.json"
        f" --settings /data/mead-settings.json --reporting xpctl --xpctl:label {task}"
    )
    assert len(gpus.removeprefix("gpus: ").split(",")) == 1
    told = [FILES[name] for name in ("sst2/sst2.yml", "datasets.yml", "embeddings.yml", "logging.json")]
    assert read == [*"".join(told).splitlines(), '{"datacache": "/data"}']
    assert (data / task / "model").read_text() == "trained\n"


def push_with_git(place: Place, clone: Path) -> None:
    """The job's folder and what it reads at the repository's root."""
    person = place.person()
    person.git("clone", f"{place.serving.url}/git/jobs.git", str(clone))
    for name, text in FILES.items():
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).write_text(text)
    person.git("add", ".", cwd=clone)
    person.git("commit", "-m", "sst2", cwd=clone)
    person.git("push", cwd=clone)
