"""The GPUs of this machine, as NVML tells of them. Without a driver there are none.

The binding is imported late: most machines have no use for it. Fields are those of api.md, "Cluster and server"; what
the driver does not give is the string ``N/A``, but 0 for ``powerDraw``, ``powerLimit`` and ``used_memory``, of which
older clients make integers. Of a process its program's base name is told, never its command line (reliability.md,
A-104).
"""

from __future__ import annotations

from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Ask = Callable[..., Any]
    Gpu = dict[str, Any]

NOT_GIVEN = "N/A"
LONGEST_NAME = 64
MIB = 1 << 20


class NoGpus(Exception):
    """None can be used here; the words say why."""


def load() -> Any:
    """The NVML binding, initialised. Raises NoGpus where it or the driver is missing."""
    try:
        import pynvml
    except ImportError as error:
        raise NoGpus("nvidia-ml-py is not installed") from error
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:  # twenty errors that all mean the same
        raise NoGpus(f"NVML cannot be used here: {error}") from error
    return pynvml


def gpus(load: Callable[[], Any] = load) -> list[Gpu]:
    """Every GPU of this machine; none where NVML or the driver is missing."""
    try:
        return read(load())
    except NoGpus:
        return []


def read(nvml: Any) -> list[Gpu]:
    """Every GPU, also one that has fallen off its bus: nothing more is known of that. Raises NoGpus."""
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        raise NoGpus(f"NVML cannot be used here: {error}") from error
    return [_gpu(nvml, index) for index in range(count)]


def program(name: str) -> str:
    """The base name of a program in what the driver calls a process: its path, or a title it gave itself.

    A title may hold anything, arguments too, so nothing after the first blank is told.
    """
    words = name.split(maxsplit=1)
    return words[0].rpartition("/")[2][:LONGEST_NAME] if words else NOT_GIVEN


def _gpu(nvml: Any, index: int) -> Gpu:
    card = _ask(nvml, "nvmlDeviceGetHandleByIndex", index)

    def ask(name: str, *args: Any, **options: Any) -> Any:
        return NOT_GIVEN if card == NOT_GIVEN else _ask(nvml, name, card, *args, **options)

    bus = _text(ask("nvmlDeviceGetPciInfo"), "busId")
    state = ask("nvmlDeviceGetPerformanceState")
    return {
        "id": bus.lower()[-12:] if bus != NOT_GIVEN else bus,
        "uuid": _words(ask("nvmlDeviceGetUUID")),
        "productName": _words(ask("nvmlDeviceGetName")),
        "productBrand": _brands(nvml).get(ask("nvmlDeviceGetBrand"), NOT_GIVEN),
        "minorNumber": ask("nvmlDeviceGetMinorNumber"),
        "performanceState": f"P{state}" if state != NOT_GIVEN else state,
        "serial": _words(ask("nvmlDeviceGetSerial")),
        "pci": {"pciBusId": bus},
        "fbMemoryUsage": _memory(nvml, ask),
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
        "processes": _processes(nvml, ask),
    }


def _ask(nvml: Any, name: str, *args: Any, **options: Any) -> Any:
    """One value; ``N/A`` where this card or driver does not give it."""
    try:
        return getattr(nvml, name)(*args, **options)
    except (nvml.NVMLError, AttributeError):
        return NOT_GIVEN


def _words(value: Any) -> str:
    """Older bindings give bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _program(name: Any) -> str:
    return NOT_GIVEN if name == NOT_GIVEN else program(_words(name))


def _text(value: Any, name: str) -> str:
    return NOT_GIVEN if value == NOT_GIVEN else _words(getattr(value, name))


@lru_cache(maxsize=4)
def _brands(nvml: Any) -> dict[Any, str]:
    """``NVML_BRAND_TESLA`` is ``Tesla``; the binding has two thousand names to look through."""
    names = [name for name in dir(nvml) if name.startswith("NVML_BRAND_") and name != "NVML_BRAND_COUNT"]
    return {getattr(nvml, name): name.removeprefix("NVML_BRAND_").replace("_", " ").title() for name in reversed(names)}


def _memory(nvml: Any, ask: Ask) -> dict[str, Any]:
    """The second version of the call, which counts what the driver reserves on its own, or else the first."""
    info = ask("nvmlDeviceGetMemoryInfo", version=getattr(nvml, "nvmlMemory_v2", None))
    if info == NOT_GIVEN:
        info = ask("nvmlDeviceGetMemoryInfo")
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


def _processes(nvml: Any, ask: Ask) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for kind in ("Compute", "Graphics"):
        running = ask(f"nvmlDeviceGet{kind}RunningProcesses")
        for process in running if running != NOT_GIVEN else []:
            found[process.pid] = {
                "pid": process.pid,
                "process_name": _program(_ask(nvml, "nvmlSystemGetProcessName", process.pid)),
                "used_memory": _mebibytes(process.usedGpuMemory),
            }
    return list(found.values())
