"""What NVML says, in the shape of GET /v1/nodes. The binding is played by an object with its functions."""

# ruff: noqa: N802, N815 - the names are NVML's

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest

from odin.executors.machine import LocalNodes
from odin.nvml import NoGpus, gpus, load


class Driver:
    """Two cards' worth of NVML; ``missing`` functions answer NotSupported."""

    NVMLError = pynvml.NVMLError
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_GRAPHICS, NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_CLOCK_VIDEO = range(4)
    NVML_BRAND_COUNT, NVML_BRAND_TESLA, NVML_BRAND_GEFORCE_RTX = 99, 2, 14
    nvmlMemory_v2 = 33554472

    def __init__(self, *missing: str, count: int = 2) -> None:
        self._missing, self._count = missing, count

    def __getattribute__(self, name):
        if name in object.__getattribute__(self, "_missing"):
            raise AttributeError(name)
        return object.__getattribute__(self, name)

    def nvmlDeviceGetCount(self):
        return self._count

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetPciInfo(self, card):
        return SimpleNamespace(busId=f"0000000{card}:4B:00.0")

    def nvmlDeviceGetUUID(self, card):
        return b"GPU-1"

    def nvmlDeviceGetName(self, card):
        return "NVIDIA H100"

    def nvmlDeviceGetBrand(self, card):
        return 14

    def nvmlDeviceGetMinorNumber(self, card):
        return card

    def nvmlDeviceGetPerformanceState(self, card):
        return 0

    def nvmlDeviceGetSerial(self, card):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlDeviceGetMemoryInfo(self, card, version=None):
        return SimpleNamespace(total=80 << 30, used=1 << 30, free=79 << 30)

    def nvmlDeviceGetUtilizationRates(self, card):
        return SimpleNamespace(gpu=93, memory=40)

    def nvmlDeviceGetTemperature(self, card, sensor):
        return 55

    def nvmlDeviceGetPowerUsage(self, card):
        return 312_500

    def nvmlDeviceGetEnforcedPowerLimit(self, card):
        return 700_000

    def nvmlDeviceGetClockInfo(self, card, kind):
        return 1000 + kind

    def nvmlDeviceGetComputeRunningProcesses(self, card):
        return [SimpleNamespace(pid=7, usedGpuMemory=2 << 30), SimpleNamespace(pid=8, usedGpuMemory=None)]

    def nvmlDeviceGetGraphicsRunningProcesses(self, card):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlSystemGetProcessName(self, pid):
        return "python"


class Unwilling(Driver):
    def nvmlDeviceGetCount(self):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)


class Fallen(Driver):
    """The first card has fallen off its bus."""

    def nvmlDeviceGetHandleByIndex(self, index):
        if index == 0:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return index


def test_every_field_of_a_gpu():
    assert gpus(Driver)[1] == {
        "id": "0001:4b:00.0",
        "uuid": "GPU-1",
        "productName": "NVIDIA H100",
        "productBrand": "Geforce Rtx",
        "minorNumber": 1,
        "performanceState": "P0",
        "serial": "N/A",
        "pci": {"pciBusId": "00000001:4B:00.0"},
        "fbMemoryUsage": {"total": 81920, "used": 1024, "free": 80896, "unit": "MiB"},
        "utilization": {"gpuUtil": 93, "memoryUtil": 40, "unit": "%"},
        "temperature": {"gpuTemp": 55, "unit": "C"},
        "powerReadings": {"powerDraw": 312.5, "powerLimit": 700.0, "unit": "W"},
        "clocks": {"graphicsClock": 1000, "smClock": 1001, "memClock": 1002, "videoClock": 1003, "unit": "MHz"},
        "processes": [
            {"pid": 7, "process_name": "python", "used_memory": 2048},
            {"pid": 8, "process_name": "python", "used_memory": 0},
        ],
    }


def test_what_a_card_does_not_give_is_not_available_and_its_power_is_0():
    functions = [
        name
        for name in vars(Driver)
        if name.startswith("nvmlDeviceGet") and "Count" not in name and "Handle" not in name
    ]
    gpu = gpus(lambda: Driver(*functions))[0]
    assert gpu["powerReadings"] == {"powerDraw": 0, "powerLimit": 0, "unit": "W"}
    assert gpu["fbMemoryUsage"] == {"total": "N/A", "used": "N/A", "free": "N/A", "unit": "MiB"}
    assert gpu["utilization"] == {"gpuUtil": "N/A", "memoryUtil": "N/A", "unit": "%"}
    assert gpu["processes"] == []
    assert {gpu[name] for name in ("id", "uuid", "productName", "productBrand", "minorNumber", "performanceState")} == {
        "N/A"
    }


def test_a_machine_without_a_driver_has_no_gpus():
    def broken():
        raise NoGpus("there is no driver")

    assert gpus(broken) == gpus(lambda: Unwilling()) == []
    assert LocalNodes.cards(broken) == ()
    assert LocalNodes.cards(Driver) == ("0", "1")


def test_f95_a_card_that_fell_off_its_bus_hides_no_other():
    lost, kept = gpus(Fallen)
    assert (lost["id"], lost["processes"], lost["powerReadings"]["powerDraw"]) == ("N/A", [], 0)
    assert kept["id"] == "0001:4b:00.0"


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("python", "python"),
        ("/usr/bin/python3.11", "python3.11"),
        ("/opt/train --password=hunter2", "train"),
        ("ray::worker token=abc/def", "ray::worker"),
        (b"/bin/x\xff", "x\ufffd"),
        ("", "N/A"),
        ("N/A", "N/A"),
        ("a" * 1000, "a" * 64),
    ],
)
def test_a104_of_a_process_the_base_name_of_its_program_is_told(monkeypatch, told, shown):
    monkeypatch.setattr(Driver, "nvmlSystemGetProcessName", lambda self, pid: told)
    assert {process["process_name"] for process in gpus(Driver)[0]["processes"]} == {shown}


async def test_the_node_is_this_machine():
    nodes = LocalNodes(slots=3, load=Driver)
    [node] = (await nodes.nodes()).nodes
    nodes.close()
    assert node["host"] == os.uname().nodename
    assert node["cpu"] == os.cpu_count()
    assert node["memory"].endswith("Ki")
    assert (node["pods"], node["nvidia.com/gpu"], len(node["gpus"])) == (3, 2, 2)
    assert node["internalIP"].count(".") == 3


async def test_f95_a_driver_that_hangs_costs_old_values_not_the_server(monkeypatch):
    monkeypatch.setattr("odin.executors.machine.PATIENCE_S", 0.05)
    held = threading.Event()

    def slow():
        held.wait(30)
        return Driver()

    nodes = LocalNodes(load=slow)
    assert (await nodes.nodes()).nodes[0]["gpus"] == []
    assert (await nodes.nodes()).nodes[0]["gpus"] == []
    held.set()
    monkeypatch.setattr("odin.executors.machine.PATIENCE_S", 30.0)
    assert len((await nodes.nodes()).nodes[0]["gpus"]) == 2
    nodes.close()


def test_without_nvidia_hardware_the_real_binding_finds_nothing():
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a driver")
    with pytest.raises(NoGpus, match="NVML"):
        load()
    assert gpus() == []
