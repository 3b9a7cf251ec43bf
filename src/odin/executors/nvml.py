"""This machine and its GPUs, as NVML tells of them. Without a driver there are none.

NVML is imported and asked in a thread of its own, late: a driver that hangs costs old values, not the server.
Fields are those of api.md, "Cluster and server"; what the driver does not give is the string ``N/A``, but 0 for
``powerDraw``, ``powerLimit`` and ``used_memory``, of which older clients make integers.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

NOT_GIVEN = "N/A"
FRESH_S = 2.0
PATIENCE_S = 5.0
MIB = 1 << 20

Gpu = dict[str, Any]


def load() -> Any:
    """The NVML binding, initialised; raises its own error or ImportError where there is none."""
    import pynvml

    pynvml.nvmlInit()
    return pynvml


def gpus(load: Callable[[], Any] = load) -> list[Gpu]:
    """Every GPU of this machine; none where NVML or the driver is missing."""
    from pynvml import NVMLError

    try:
        nvml = load()
        count = nvml.nvmlDeviceGetCount()
    except (ImportError, NVMLError):  # twenty errors that all mean: no GPU can be used here
        return []
    return [_gpu(nvml, nvml.nvmlDeviceGetHandleByIndex(index)) for index in range(count)]


class LocalNodes:
    """``Nodes`` of one machine. ``slots`` is how many tasks of one CPU it runs at once: its CPUs, unless said."""

    def __init__(self, *, slots: int | None = None, load: Callable[[], Any] = load) -> None:
        self._slots = slots or os.cpu_count() or 1
        self._load = load
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="odin-nvml")
        self._asked: Future[list[Gpu]] | None = None
        self._known: list[Gpu] = []
        self._fresh_until = 0.0

    @staticmethod
    def cards(load: Callable[[], Any] = load) -> tuple[str, ...]:
        """The GPUs' indexes, as ``CUDA_VISIBLE_DEVICES`` takes them in the order of the bus; asked at once."""
        return tuple(str(index) for index, _ in enumerate(gpus(load)))

    async def nodes(self) -> list[dict[str, Any]]:
        gpus = await self._gpus()
        node = {
            "host": socket.gethostname(),
            "internalIP": _address(),
            "cpu": os.cpu_count() or 1,
            "memory": f"{_memory_kib()}Ki",
            "pods": self._slots,
            "nvidia.com/gpu": len(gpus),
            "gpus": gpus,
        }
        return [node]

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _gpus(self) -> list[Gpu]:
        """At most one question at a time; what was known before when the driver takes too long."""
        if time.monotonic() < self._fresh_until:
            return self._known
        if self._asked is None:
            self._asked = self._thread.submit(gpus, self._load)
        await asyncio.wait([asyncio.wrap_future(self._asked)], timeout=PATIENCE_S)
        if self._asked is not None and self._asked.done():
            self._known = self._asked.result()
            self._asked = None
            self._fresh_until = time.monotonic() + FRESH_S
        return self._known


def _gpu(nvml: Any, card: Any) -> Gpu:
    def ask(name: str, *args: Any) -> Any:
        return _ask(nvml, name, card, *args)

    bus = _text(ask("nvmlDeviceGetPciInfo"), "busId")
    state = ask("nvmlDeviceGetPerformanceState")
    return {
        "id": bus.lower()[-12:] if bus != NOT_GIVEN else bus,
        "uuid": _words(ask("nvmlDeviceGetUUID")),
        "productName": _words(ask("nvmlDeviceGetName")),
        "productBrand": _brand(nvml, ask("nvmlDeviceGetBrand")),
        "minorNumber": ask("nvmlDeviceGetMinorNumber"),
        "performanceState": f"P{state}" if state != NOT_GIVEN else state,
        "serial": _words(ask("nvmlDeviceGetSerial")),
        "pci": {"pciBusId": bus},
        "fbMemoryUsage": _memory(nvml, card),
        "utilization": _utilization(ask("nvmlDeviceGetUtilizationRates")),
        "temperature": {"gpuTemp": ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU), "unit": "C"},
        "powerReadings": {
            "powerDraw": _watts(ask("nvmlDeviceGetPowerUsage")),
            "powerLimit": _watts(ask("nvmlDeviceGetEnforcedPowerLimit")),
            "unit": "W",
        },
        "clocks": {
            "graphicsClock": ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_GRAPHICS),
            "smClock": ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            "memClock": ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
            "videoClock": ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_VIDEO),
            "unit": "MHz",
        },
        "processes": _processes(nvml, card),
    }


def _ask(nvml: Any, name: str, *args: Any, **options: Any) -> Any:
    """One value; ``N/A`` where this card or driver does not give it."""
    try:
        return getattr(nvml, name)(*args, **options)
    except (nvml.NVMLError, AttributeError):
        return NOT_GIVEN


def _words(value: Any) -> str:
    """Older bindings give bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _text(value: Any, name: str) -> str:
    return NOT_GIVEN if value == NOT_GIVEN else _words(getattr(value, name))


def _brand(nvml: Any, number: Any) -> str:
    """``NVML_BRAND_TESLA`` is ``Tesla``."""
    names = [name for name in dir(nvml) if name.startswith("NVML_BRAND_") and name != "NVML_BRAND_COUNT"]
    found = [name for name in names if getattr(nvml, name) == number]
    return found[0].removeprefix("NVML_BRAND_").replace("_", " ").title() if found else NOT_GIVEN


def _memory(nvml: Any, card: Any) -> dict[str, Any]:
    """The second version of the call, which counts what the driver reserves on its own, or else the first."""
    info = _ask(nvml, "nvmlDeviceGetMemoryInfo", card, version=getattr(nvml, "nvmlMemory_v2", None))
    if info == NOT_GIVEN:
        info = _ask(nvml, "nvmlDeviceGetMemoryInfo", card)
    sizes = {name: NOT_GIVEN if info == NOT_GIVEN else getattr(info, name) // MIB for name in ("total", "used", "free")}
    return {**sizes, "unit": "MiB"}


def _utilization(rates: Any) -> dict[str, Any]:
    if rates == NOT_GIVEN:
        return {"gpuUtil": NOT_GIVEN, "memoryUtil": NOT_GIVEN, "unit": "%"}
    return {"gpuUtil": rates.gpu, "memoryUtil": rates.memory, "unit": "%"}


def _watts(milliwatts: Any) -> float:
    """Older clients turn this into an integer: 0 where it is not known."""
    return 0 if milliwatts == NOT_GIVEN else milliwatts / 1000


def _mebibytes(held: int | None) -> int:
    """What a process holds of a card; 0 where that is not known, as in a container: older clients add these up."""
    return (held or 0) // MIB


def _processes(nvml: Any, card: Any) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for kind in ("Compute", "Graphics"):
        running = _ask(nvml, f"nvmlDeviceGet{kind}RunningProcesses", card)
        for process in running if running != NOT_GIVEN else []:
            found[process.pid] = {
                "pid": process.pid,
                "process_name": _words(_ask(nvml, "nvmlSystemGetProcessName", process.pid)),
                "used_memory": _mebibytes(process.usedGpuMemory),
            }
    return list(found.values())


def _memory_kib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024


def _address() -> str:
    """The address that this machine would use to reach others; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
