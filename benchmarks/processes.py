"""What Linux tells of processes, and running a command to its end with its wall time and CPU."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one whole process, its reaped children included."""

    wall_s: float
    cpu_s: float


def run(command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Cost:
    """Raises RuntimeError with what the command said if it fails."""
    said = os.memfd_create("said")  # unlike a pipe it needs no reader
    try:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        usage_s = wait(process)
        wall_s = time.perf_counter() - began
        if process.returncode:
            words = os.pread(said, 4000, 0).decode(errors="replace")
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode} and said:\n{words}")
    finally:
        os.close(said)
    return Cost(wall_s, usage_s)


def wait(process: subprocess.Popen[bytes]) -> float:
    """Wait for the end; the CPU seconds that the process and its reaped children took."""
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def child(command: Sequence[str], stdout: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process beside us, waited for at the end; killed if the block raises. Raises RuntimeError if it fails."""
    process = subprocess.Popen(command, stdout=stdout, stdin=subprocess.DEVNULL)
    try:
        yield process
        process.wait()
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")


def cpu_s(pid: int) -> float:
    """CPU that a process and its reaped children have taken so far, in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return sum(map(int, fields[11:15])) * TICK_S


def own_cpu_s(pid: int) -> float:
    """CPU that the living threads of a process have taken so far, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_bytes().split()[0]) for task in tasks) / 1e9


def memory_mb(pid: int, what: str = "VmRSS") -> float:
    """``VmRSS`` is what a process has in memory now, ``VmHWM`` the most it ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no {what}")


def end(pid: int, within_s: float) -> None:
    """TERM, and KILL when it has not ended in time; the process may be anybody's child, or gone."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            if not select.select([handle], [], [], within_s)[0]:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)


def children(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
