"""Starts a task: its log file, which is the record that it may have started, and then its process."""

from __future__ import annotations

import fcntl
import os
import pwd
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .bodies import Body, Processes
from .ledger import pipeline_of
from .program import NOT_EXECUTABLE, CannotStart, enter, locate, make_folder, not_started

NEW_LOG = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
CATCHABLE = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]


@dataclass(frozen=True, slots=True)
class TaskUser:
    """Whom tasks run as, when not as the runner's own user."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def task_user(name: str | None) -> TaskUser | None:
    if name is None:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise CannotStart(NOT_EXECUTABLE, f"the user {name!r} that tasks should run as does not exist") from None
    groups = os.getgrouplist(name, entry.pw_gid)
    return TaskUser(entry.pw_uid, entry.pw_gid, tuple(groups))


class Logs:
    """One file for each attempt: ``<folder>/<pipeline>/<attempt>.log``. While its flock is held, something lives."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def path(self, attempt: str) -> str:
        return f"{self._folder}/{pipeline_of(attempt)}/{attempt}.log"

    def create(self, attempt: str, user: TaskUser | None) -> int:
        """The new file, locked; FileExistsError when the attempt may have been started before."""
        path = self.path(attempt)
        try:
            fd = os.open(path, NEW_LOG, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            fd = os.open(path, NEW_LOG, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if user:  # so that the task may open /dev/stdout
            os.fchown(fd, user.uid, user.gid)
        return fd

    def exists(self, attempt: str) -> bool:
        return os.path.lexists(self.path(attempt))

    def held(self, attempt: str) -> bool:
        try:
            fd = os.open(self.path(attempt), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def size(self, attempt: str) -> int | None:
        with suppress(OSError):
            return os.stat(self.path(attempt)).st_size
        return None


class Starter:
    """Starts processes, with the environment and as the user that the server wants."""

    def __init__(self, logs: Logs, processes: Processes, *, reach: Callable[[str], None], fast: bool = True) -> None:
        self._logs = logs
        self._processes = processes
        self._reach = reach
        self._fast = fast

    def start(self, request: Mapping[str, Any], inherited: dict[str, str], username: str | None) -> Body:
        """FileExistsError: never start it again. CannotStart: it never ran."""
        if username is not None:
            self._processes.give_up_privileges()
        user = task_user(username)
        owner = (user.uid, user.gid) if user else None
        for folder in request["make"]:
            make_folder(folder, owner)
        self._reach("runner:folders-made")
        log = self._create_log(request["id"], user)
        try:
            self._reach("runner:after-file")
            return self._start(request, inherited | request["env"], log=log, user=user)
        finally:
            os.close(log)

    def _create_log(self, attempt: str, user: TaskUser | None) -> int:
        self._reach("runner:before-file")
        try:
            return self._logs.create(attempt, user)
        except FileExistsError:
            raise
        except OSError as error:
            message = f"cannot make the log {self._logs.path(attempt)}: {os.strerror(error.errno or 0).lower()}"
            raise CannotStart(None, message) from error

    def _start(self, request: Mapping[str, Any], env: dict[str, str], *, log: int, user: TaskUser | None) -> Body:
        enter(request["cwd"])
        oom_kills = self._processes.oom_kills()
        try:
            path = locate(request["argv"][0], env.get("PATH", os.defpath))
            self._processes.mark(request["id"])
            at = time.time()
            pid = self._execute(path, request["argv"], env=env, log=log, user=user)
        finally:
            self._processes.unmark()
            os.chdir("/")
        self._reach("runner:after-exec")
        return Body(
            request["id"],
            pid,
            at,
            born=self._processes.born(pid),
            timeout_s=request["timeout"],
            grace_s=request["grace"],
            oom_kills=oom_kills,
        )

    def _execute(self, path: str, argv: list[str], *, env: dict[str, str], log: int, user: TaskUser | None) -> int:
        try:
            if self._fast and user is None:
                return _spawn(path, argv, env, log)
            return _popen(path, argv, env=env, log=log, user=user)
        except ValueError as error:  # a NUL, or a name with "="
            raise CannotStart(NOT_EXECUTABLE, f"{path} cannot be started: {error}") from error
        except OSError as error:
            raise not_started(error, path) from error


def _spawn(path: str, argv: list[str], env: dict[str, str], log: int) -> int:
    """A fifth cheaper than Popen. Standard input is the runner's own: /dev/null."""
    actions = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    return os.posix_spawn(path, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=CATCHABLE)


def _popen(path: str, argv: list[str], *, env: dict[str, str], log: int, user: TaskUser | None) -> int:
    import subprocess

    process = subprocess.Popen(
        argv,
        executable=path,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=env,
        start_new_session=True,
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=user.groups if user else None,
    )
    process.returncode = 0  # reaped by the loop, not by Popen
    return process.pid
