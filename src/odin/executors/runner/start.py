"""Starts the runner of a data folder: arguments, the lock, the socket, going into the background.

    python -I -S <folder> --data=FOLDER [--version=V] [--foreground] [--stay] [--portable] [--faults=FILE]

The first process ends with 0 when the runner can be reached, with 75 when there is one already. ``--stay`` keeps
it when it has nothing to do, ``--foreground`` with its parent: both for a unit of its own.
"""

from __future__ import annotations

import fcntl
import os
import resource
import select
import socket
import sys
from collections.abc import Callable
from typing import Any

from .adoption import Adopted
from .bodies import Bodies, Processes
from .journal import Journal
from .ledger import Ledger
from .loop import Loop
from .requests import Requests
from .servers import Servers
from .spawn import Logs, Starter

ALREADY_RUNNING = 75  # EX_TEMPFAIL


def main(argv: list[str]) -> int:
    options = dict(item.removeprefix("--").partition("=")[::2] for item in argv)
    os.umask(0o077)
    folder = os.path.join(options["data"], "runner")
    os.makedirs(folder, 0o700, exist_ok=True)
    if "inherit" in options:
        kept = [int(fd) for fd in options["inherit"].split(",")]
        for fd in kept:
            os.set_inheritable(fd, False)
        return serve(options, kept[0], socket.socket(fileno=kept[1]))
    lock = take_lock(folder)
    if lock < 0:
        return ALREADY_RUNNING
    listener = listen(folder)
    if "foreground" in options:
        return serve(options, lock, listener)
    return in_background(lambda ready: serve(options, lock, listener, ready))


def take_lock(folder: str) -> int:
    """The lock of a data folder, held as long as the descriptor is open; -1 when another runner has it."""
    lock = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return -1
    return lock


def listen(folder: str) -> socket.socket:
    """The socket, bound by a relative name: the folder's path may be longer than a socket's may."""
    os.chdir(folder)
    try:
        if os.path.lexists("socket"):
            os.unlink("socket")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("socket")
        os.chmod("socket", 0o600)
    finally:
        os.chdir("/")
    listener.listen(8)
    listener.setblocking(False)
    return listener


def in_background(serve_in_child: Callable[[int], int]) -> int:
    """Go on in a child; return once it is ready (0) or has failed (1)."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.close(read)
        return serve_in_child(write)
    os.close(write)
    return 0 if os.read(read, 1) else 1


def serve(options: dict[str, str], lock: int, listener: socket.socket, ready: int | None = None) -> int:
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    _leave_terminal()
    loop, ledger = build(options, listener)
    if ready is not None:
        os.write(ready, b"1")
        os.close(ready)
    loop.run()
    while loop.upgrade:
        own = [f"--{name}" for name in ("stay", "portable") if name in options]
        _become([*loop.upgrade, *own], (lock, listener.fileno()))
        loop.run()
    os.unlink(f"{options['data']}/runner/socket")
    ledger.close()
    return 0


def build(options: dict[str, str], listener: socket.socket) -> tuple[Loop, Ledger]:
    portable = "portable" in options or sys.platform != "linux"
    processes, reach, poll = _processes(portable, options["data"]), _reach(options.get("faults")), select.poll()
    boot, logs = processes.boot(), Logs(f"{options['data']}/logs")
    journal = Journal(f"{options['data']}/runner/journal")
    ledger = Ledger(journal, runner=os.urandom(16).hex(), boot=boot)
    bodies = Bodies(processes, ledger, log_size=logs.size, reach=reach)
    adopted = Adopted(processes, bodies, ledger=ledger, logs=logs, poll=poll)
    adopted.take_over(same_boot=not ledger.rebooted)
    starter = Starter(logs, processes, reach=reach, fast=not portable)
    servers = Servers()
    requests = Requests(ledger, bodies, servers=servers, adopted=adopted, starter=starter, logs=logs)
    facts: dict[str, Any] = {
        "version": options.get("version", ""),
        "runner": ledger.runner,
        "boot": boot,
        "pid": os.getpid(),
    }
    loop = Loop(
        listener,
        poll,
        ledger=ledger,
        bodies=bodies,
        adopted=adopted,
        requests=requests,
        servers=servers,
        facts=facts,
        stay="stay" in options,
        reach=reach,
    )
    return loop, ledger


def _leave_terminal() -> None:
    """Tasks inherit an empty standard input and leave no core files unless they ask for them."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _processes(portable: bool, data: str) -> Processes:
    if portable:
        from .portable import Processes as PortableProcesses

        return PortableProcesses()
    from .linux import Processes as LinuxProcesses

    return LinuxProcesses(os.path.realpath(data))


def _reach(path: str | None) -> Callable[[str], None]:
    """The kill points of the test distribution, whose file the server names; otherwise none."""
    if path is None:
        return lambda _point: None
    import importlib.util

    spec = importlib.util.spec_from_file_location("faults", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"not a Python file: {path}")
    faults = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(faults)
    return faults.reach  # type: ignore[no-any-return]


def _become(argv: list[str], kept: tuple[int, int]) -> None:
    """Replace this program by a newer one: same process, children, journal, lock and socket. Returns if it cannot."""
    for fd in kept:
        os.set_inheritable(fd, True)
    try:
        os.execv(argv[0], [*argv, "--inherit={},{}".format(*kept)])  # noqa: S606 - a list, from the server alone
    except OSError as error:
        print(f"the runner could not be replaced by {argv[0]}: {error}", file=sys.stderr, flush=True)
