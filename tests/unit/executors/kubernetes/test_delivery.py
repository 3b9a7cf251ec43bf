"""The files of a job as ConfigMaps."""

from base64 import b64decode

import pytest

from odin.executors.kubernetes.delivery import MOST_FILES, PART_BYTES, check, config_maps
from odin.model.errors import TooLarge
from podlaunches import PIPELINE

LABELS = {"odin/store": "s", "odin/pipeline": PIPELINE}


def read_back(objects, volume):
    """What a pod sees, as the kubelet would write it: path to content and mode."""
    by_name = {made["metadata"]["name"]: made for made in objects}
    seen = {}
    for source in volume["projected"]["sources"]:
        made = by_name[source["configMap"]["name"]]
        data = {key: text.encode() for key, text in made.get("data", {}).items()}
        data |= {key: b64decode(text) for key, text in made.get("binaryData", {}).items()}
        for item in source["configMap"]["items"]:
            seen[item["path"]] = data[item["key"]], item.get("mode", volume["projected"]["defaultMode"])
    return seen


def test_a_pod_sees_each_file_with_its_bytes_read_only():
    files = {
        "nlp/sst2/main.yml": (b"tasks: []\n", False),
        "nlp/sst2/run me.sh": (b"#!/bin/sh\n", True),
        "nlp/sst2/a/b/c.bin": (b"\xff\x00\x01", False),
        "nlp/sst2/\u00e4\u4e2d.txt": ("\u00e4\u4e2d\n".encode(), False),
        "nlp/sst2/empty": (b"", False),
        "datasets.yml": (b"- a\n", False),
    }
    seen = read_back(*config_maps(PIPELINE, files, LABELS))
    assert seen == {path: (content, 0o555 if runs else 0o444) for path, (content, runs) in files.items()}


def test_the_objects_are_marked_named_after_the_pipeline_and_never_change():
    (made,), _ = config_maps(PIPELINE, {"a/main.yml": (b"", False)}, LABELS)
    assert made["kind"] == "ConfigMap"
    assert made["metadata"] == {"name": "odin-sst2-0000000a--files", "labels": LABELS}
    assert made["immutable"] is True


def test_the_same_files_make_the_same_objects_whatever_their_order():
    files = {"b": (b"1", False), "a": (b"2", True)}
    assert config_maps(PIPELINE, files, LABELS) == config_maps(PIPELINE, dict(reversed(files.items())), LABELS)


def test_keys_are_such_as_kubernetes_takes_and_distinct():
    files = {f"job/{name}": (b"", False) for name in ("a b", "a_b", "..", "x" * 250, "\u00e4" * 120, "a/b")}
    (made,), _ = config_maps(PIPELINE, files, LABELS)
    assert len(made["data"]) == len(files)
    for key in made["data"]:
        assert len(key) <= 253
        assert set(key) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
        assert not key.startswith(".")


def test_control_characters_which_json_would_swell_are_encoded():
    (made,), _ = config_maps(PIPELINE, {"a": (b"\x01" * 10, False), "b": (b"\ttext\r\n", False)}, LABELS)
    assert list(made["data"].values()) == ["\ttext\r\n"]
    assert len(made["binaryData"]) == 1


def test_what_is_too_large_for_one_object_takes_several():
    files = {f"job/{n}": (bytes([n]) * 290_000, False) for n in range(65, 68)}
    objects, volume = config_maps(PIPELINE, files, LABELS)
    assert [made["metadata"]["name"] for made in objects] == [
        f"odin-sst2-0000000a--files{end}" for end in ("", "-1", "-2")
    ]
    assert {path: content for path, (content, _) in read_back(objects, volume).items()} == {
        path: content for path, (content, _) in files.items()
    }


def test_the_file_of_task_ids_comes_along_and_does_not_count():
    ids = "sst2-0000000a--task\n" * 40_000
    objects, volume = config_maps(PIPELINE, {"job/a": (b"x" * PART_BYTES, False)}, LABELS, task_ids=ids)
    assert read_back(objects, volume)[".odin/task_ids"] == (ids.encode(), 0o444)
    assert len(objects) == 2


def test_too_many_bytes_are_refused_with_sizes_and_remedy():
    with pytest.raises(TooLarge) as caught:
        config_maps(PIPELINE, {"job/model.bin": (b"x" * 899_999, False), "job/main.yml": (b"12", False)}, LABELS)
    assert "900001 bytes" in caught.value.detail
    assert "up to 900000" in caught.value.detail
    assert "job/model.bin (899999), job/main.yml (2)" in caught.value.detail
    assert "ODIN_DATA_CLAIM" in caught.value.detail
    check({"job/model.bin": 900_000})


def test_too_many_files_are_refused():
    check({str(n): 1 for n in range(MOST_FILES)})
    with pytest.raises(TooLarge, match=r"1001 files.*ODIN_DATA_CLAIM"):
        check({str(n): 1 for n in range(MOST_FILES + 1)})


def test_more_ids_than_one_object_holds_are_refused():
    with pytest.raises(TooLarge, match="ODIN_DATA_CLAIM"):
        config_maps(PIPELINE, {"job/a": (b"", False)}, LABELS, task_ids="x" * 1_000_001)
