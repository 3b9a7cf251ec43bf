"""NVML of a machine with two GPUs: one that tells everything, and one that tells as little as a card may."""

# ruff: noqa: N802, N816 - the names are NVML's

from __future__ import annotations

from types import SimpleNamespace

NVML_TEMPERATURE_GPU = 0
NVML_CLOCK_GRAPHICS, NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_CLOCK_VIDEO = range(4)
NVML_BRAND_GEFORCE = 5


class NVMLError(Exception):
    """Not supported."""


def nvmlInit():
    pass


def nvmlDeviceGetCount():
    return 2


def nvmlDeviceGetHandleByIndex(index):
    return index


def nvmlDeviceGetPciInfo(card):
    return SimpleNamespace(busId=f"0000000{card}:0A:00.0")


def nvmlDeviceGetName(card):
    return "GeForce RTX 2080" if card == 0 else "N/A"


def nvmlSystemGetProcessName(pid):
    return f"python-{pid}"


def nvmlDeviceGetComputeRunningProcesses(card):
    """The memory of a process is not known where the server runs in a container."""
    return [SimpleNamespace(pid=12, usedGpuMemory=(512 << 20) if card == 0 else None)]


def _of_the_first(value):
    def asked(card, *_args, **_options):
        if card == 0:
            return value
        raise NVMLError

    return asked


nvmlDeviceGetBrand = _of_the_first(NVML_BRAND_GEFORCE)
nvmlDeviceGetUUID = _of_the_first("GPU-0")
nvmlDeviceGetSerial = _of_the_first("1")
nvmlDeviceGetMinorNumber = _of_the_first(0)
nvmlDeviceGetPerformanceState = _of_the_first(8)
nvmlDeviceGetMemoryInfo = _of_the_first(SimpleNamespace(total=8 << 30, used=512 << 20, free=7 << 30))
nvmlDeviceGetUtilizationRates = _of_the_first(SimpleNamespace(gpu=93, memory=40))
nvmlDeviceGetTemperature = _of_the_first(49)
nvmlDeviceGetPowerUsage = _of_the_first(112_500)
nvmlDeviceGetEnforcedPowerLimit = _of_the_first(250_000)
nvmlDeviceGetClockInfo = _of_the_first(405)
nvmlDeviceGetGraphicsRunningProcesses = _of_the_first([])
