"""What Odin is compared with: the same processes started by something that keeps no state.

As a program, in an interpreter of its own: ``floors.py spawn COUNT SLOTS`` and ``floors.py forks COUNT`` print
``wall_s cpu_s``, the interpreter's own start left out.
"""

from __future__ import annotations

import os
import resource
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from processes import Cost, run
from shapes import PROGRAM, Shape, build_ninja, makefile

# The interpreter that the commands run in, started as they start it.
PASS = (sys.executable, "-c", "pass")


@dataclass(frozen=True, slots=True)
class Build:
    """One shape as files for make and ninja, in a folder of its own."""

    folder: Path
    shape: Shape

    @classmethod
    def write(cls, folder: Path, shape: Shape) -> Build:
        folder.mkdir(parents=True)
        (folder / "Makefile").write_text(makefile(shape))
        (folder / "build.ninja").write_text(build_ninja(shape))
        return cls(folder, shape)

    def make(self, slots: int) -> Cost:
        return run(["make", "-s", f"-j{slots}"], cwd=self.folder)

    def ninja(self, slots: int) -> Cost:
        return run([*(ninja() or ()), "--quiet", f"-j{slots}"], cwd=self.folder)


def ninja() -> tuple[str, ...] | None:
    """How to start ninja: the program, or the package of that name; None if there is none."""
    if found := shutil.which("ninja"):
        return (found,)
    module = [sys.executable, "-m", "ninja"]
    there = subprocess.run([*module, "--version"], capture_output=True).returncode == 0
    return tuple(module) if there else None


def python() -> Cost:
    return run(PASS)


def spawn(count: int, slots: int) -> Cost:
    """``count`` processes, so many at once, by ``posix_spawn`` and pidfds: the least that Python can do."""
    return _alone("spawn", count, slots)


def forks(count: int) -> Cost:
    """``count`` processes, one after the other, by fork, exec and wait."""
    return _alone("forks", count)


def _alone(word: str, *numbers: int) -> Cost:
    """In an interpreter with nothing loaded: the price of a fork grows with the memory of who forks."""
    command = [sys.executable, "-I", __file__, word, *map(str, numbers)]
    wall, cpu = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return Cost(float(wall), float(cpu))


def _spawn(count: int, slots: int) -> None:
    waiting = select.poll()
    running: dict[int, int] = {}  # pid by pidfd
    while count or running:
        while count and len(running) < slots:
            pid = os.posix_spawn(PROGRAM, [PROGRAM], {})
            handle = os.pidfd_open(pid)
            waiting.register(handle, select.POLLIN)
            running[handle] = pid
            count -= 1
        for handle, _ in waiting.poll():
            waiting.unregister(handle)
            os.close(handle)
            os.waitpid(running.pop(handle), 0)


def _forks(count: int) -> None:
    for _ in range(count):
        pid = os.fork()
        if not pid:
            os.execv(PROGRAM, [PROGRAM])
        os.waitpid(pid, 0)


def _cpu_s() -> float:
    parts = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(part.ru_utime + part.ru_stime for part in parts)


WORK: dict[str, Callable[..., None]] = {"spawn": _spawn, "forks": _forks}


def main(word: str, *numbers: str) -> None:
    cpu_s, began = _cpu_s(), time.perf_counter()
    WORK[word](*map(int, numbers))
    print(time.perf_counter() - began, _cpu_s() - cpu_s)


if __name__ == "__main__":
    main(*sys.argv[1:])
