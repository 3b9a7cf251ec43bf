"""What only Linux can do: find every process of an attempt, whatever it did to get away, and never a stranger.

A process inherits a mark from the runner at its start: an odd soft limit of realtime CPU time (RLIMIT_RTTIME,
2^61 microseconds and more, so it never bites). Unlike a session, a process group or the environment it survives
setsid, double forks and a cleared environment, can be asked for with one call, and is found by a later runner,
which computes it from data folder and attempt. Orphans come to the runner, since it is a subreaper, and it alone
reaps them.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import resource
import signal
import struct
import time
from collections.abc import Collection, Iterable
from contextlib import suppress

from .bodies import UNKNOWN_CPU_M, Body

PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
FIRST_MARK = 1 << 61
OOM_KILL = b"\noom_kill "
PIDFD_INFO_EXIT = 1 << 3
PIDFD_GET_INFO = (3 << 30) | (64 << 16) | (0xFF << 8) | 11  # _IOWR(0xFF, 11, struct of 64 bytes)


def _mark_of(pid: int) -> int:
    try:
        return resource.prlimit(pid, resource.RLIMIT_RTTIME)[0]
    except ProcessLookupError:
        return 0
    except PermissionError:
        return _mark_read(pid) if os.geteuid() == 0 else 0


def _mark_read(pid: int) -> int:
    """For a root that may signal others' processes but not ask for their limits (a container's)."""
    for line in _read(f"/proc/{pid}/limits", 4096).splitlines():
        if line.startswith(b"Max realtime timeout"):
            soft = line.split()[3]
            return int(soft) if soft.isdigit() else 0
    return 0


def _stat(pid: int) -> list[bytes]:
    """The fields of ``/proc/<pid>/stat`` from the state on (field 3); empty when there is no such process."""
    return _read(f"/proc/{pid}/stat", 1024).rpartition(b")")[2].split()


def _read(path: str, size: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.read(fd, size)
    except ProcessLookupError:
        return b""
    finally:
        os.close(fd)


def _send(pid: int, mark: int, signum: int) -> None:
    """Signal the process if it still is the one with the mark: through a pidfd, so that no stranger is hit."""
    with suppress(ProcessLookupError, PermissionError):
        fd = os.pidfd_open(pid)
        try:
            if _mark_of(pid) == mark:
                signal.pidfd_send_signal(fd, signum)
        finally:
            os.close(fd)


class Processes:
    """``scope`` tells this runner's attempts from those of others on the machine: its data folder."""

    def __init__(self, scope: str) -> None:
        self._key = hashlib.sha256(os.fsencode(scope)).digest()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")
        self._prctl = libc.prctl
        self._own = resource.getrlimit(resource.RLIMIT_RTTIME)
        self._counts = -1
        with suppress(OSError):  # a sandbox may not have it
            self._counts = os.open("/proc/vmstat", os.O_RDONLY | os.O_CLOEXEC)
        self._children = -1
        with suppress(FileNotFoundError):  # a kernel without it: all processes are looked through instead
            self._children = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY | os.O_CLOEXEC)

    def boot(self) -> str:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()

    def oom_kills(self) -> int | None:
        """How many processes the kernel has killed for want of memory; None where it does not count them."""
        told = os.pread(self._counts, 1 << 16, 0) if self._counts >= 0 else b""
        at = told.find(OOM_KILL)
        return int(told[at + len(OOM_KILL) :].split(b"\n", 1)[0]) if at >= 0 else None

    def give_up_privileges(self) -> None:
        """No child of ours gains privileges from now on (setuid programs)."""
        self._prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)

    def mark(self, attempt: str) -> None:
        """The next process started belongs to this attempt."""
        resource.setrlimit(resource.RLIMIT_RTTIME, (self._mark(attempt), self._own[1]))

    def unmark(self) -> None:
        """The runner is not one of its tasks (but may be part of another runner's)."""
        resource.setrlimit(resource.RLIMIT_RTTIME, self._own)

    def born(self, pid: int) -> int | None:
        """When the process started, in clock ticks since the machine did; None if there is none."""
        fields = _stat(pid)
        return int(fields[19]) if fields else None

    def alive(self, body: Body) -> bool:
        """Whether the main process of an earlier runner's body is there and not a stranger with its number."""
        if body.pid is None:
            return False
        fields = _stat(body.pid)
        return bool(fields) and int(fields[19]) == body.born and fields[0] != b"Z"

    def find(self, attempt: str) -> Body | None:
        """What lives of an attempt whose witness was not written: the leader of its session is the main process."""
        pids = [pid for pid, _ in self._scan({self._mark(attempt)})]
        if not pids:
            return None
        pid = next(filter(_is_leader, pids), None)
        born = self.born(pid or pids[0])
        cards = self.cards(pid or pids[0])
        return Body(attempt, pid, _moment(born), born=born, child=False, cpu_m=UNKNOWN_CPU_M, cards=cards)

    def cards(self, pid: int) -> tuple[str, ...] | None:
        """The GPUs that a process was given, by its environment; None where that does not say it."""
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                variables = dict(each.partition(b"=")[::2] for each in file.read().split(b"\0"))
        except OSError:
            return None
        told = variables.get(b"CUDA_VISIBLE_DEVICES")
        return tuple(filter(None, told.decode(errors="replace").split(","))) if told is not None else None

    def watch(self, pid: int) -> int | None:
        """A descriptor that becomes readable when a process that is not our child ends."""
        try:
            return os.pidfd_open(pid)
        except OSError:
            return None

    def exit_status(self, watch: int) -> int | None:
        """The wait status of such a process once it was reaped; None before that, or on kernels before 6.15."""
        info = bytearray(struct.pack("<Q", PIDFD_INFO_EXIT) + bytes(56))
        try:
            fcntl.ioctl(watch, PIDFD_GET_INFO, info, True)
        except OSError:
            return None
        known = struct.unpack_from("<Q", info)[0] & PIDFD_INFO_EXIT
        return int(struct.unpack_from("<i", info, 60)[0]) if known else None

    def left(self, bodies: Collection[Body], running: Collection[int]) -> set[str]:
        """Which of these attempts, whose main process is over, still have processes.

        All that is left of a child's tree hangs on a child of ours: asking for our children is enough.
        """
        marks = {self._mark(body.id): body.id for body in bodies}
        if all(body.child for body in bodies) and self._children >= 0:
            orphans = self._orphans(running)
            return {marks[mark] for mark in map(_mark_of, orphans) if mark in marks}
        return {marks[mark] for _, mark in self._scan(marks)}

    def signal(self, bodies: Collection[Body], signum: int) -> None:
        """To every process of these attempts; a stopped one wakes up to take it."""
        for pid, mark in self._scan({self._mark(body.id) for body in bodies}):
            _send(pid, mark, signum)
            _send(pid, mark, signal.SIGCONT)

    def _mark(self, attempt: str) -> int:
        digest = hashlib.blake2b(attempt.encode(), digest_size=7, key=self._key).digest()
        return FIRST_MARK | int.from_bytes(digest)

    def _orphans(self, running: Collection[int]) -> Iterable[int]:
        size = 1 << 16
        while len(data := os.pread(self._children, size, 0)) == size:
            size *= 2
        return set(map(int, data.split())).difference(running)

    def _scan(self, marks: Collection[int]) -> list[tuple[int, int]]:
        """Every living process with one of the marks."""
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        found = [(pid, mark) for pid in pids if (mark := _mark_of(pid)) in marks]
        return [(pid, mark) for pid, mark in found if _stat(pid)[:1] not in ([], [b"Z"])]


def _moment(born: int | None) -> float:
    """POSIX seconds of a start time in ticks since boot."""
    if born is None:
        return time.time()
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + born / os.sysconf("SC_CLK_TCK")


def _is_leader(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False
