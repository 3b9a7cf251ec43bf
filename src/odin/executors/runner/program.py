"""Finds the program of a task and says in one sentence why it cannot be started."""

from __future__ import annotations

import errno
import os
import stat

NOT_FOUND = 127
NOT_EXECUTABLE = 126
BUSY_MACHINE = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT)


class CannotStart(Exception):
    """``code`` as shells have it: 127 what is not there, 126 what is there and cannot be run. None: refused."""

    def __init__(self, code: int | None, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def locate(program: str, search: str) -> str:
    """The path to execute, as execvp would find it: names with a slash as they are, others along ``search``."""
    if "\0" in program or not program:
        raise CannotStart(NOT_FOUND, f"the command {program!r} is not the name of a program")
    if "/" in program:
        return program
    unusable = ""
    for folder in search.split(":"):
        path = os.path.join(folder or ".", program)
        if os.path.isfile(path):
            if os.access(path, os.X_OK):
                return path
            unusable = unusable or path
    if unusable:
        raise CannotStart(NOT_EXECUTABLE, f"{unusable} is not executable (chmod +x may help)")
    raise CannotStart(NOT_FOUND, f"there is no program {program!r} in PATH ({search})")


def enter(folder: str) -> None:
    """Make the task's folder the current one: the process inherits it."""
    try:
        os.chdir(folder)
    except OSError as error:
        code = NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE
        raise CannotStart(code, f"cannot start in the folder {folder}: {_words(error)}") from error


def make_folder(path: str, owner: tuple[int, int] | None) -> None:
    """Make a folder and those above it. It belongs to ``owner`` then, if it was ours and not anybody's link."""
    try:
        _make(path)
        if owner:
            _give(path, owner)
    except OSError as error:
        code = None if error.errno in BUSY_MACHINE else NOT_EXECUTABLE
        raise CannotStart(code, f"cannot make the folder {error.filename or path}: {_words(error)}") from error


def _make(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if os.path.isdir(path):
            return
        raise
    except FileNotFoundError:
        _make(os.path.dirname(path))
        _make(path)


def _give(path: str, owner: tuple[int, int]) -> None:
    """Never through a link: the task user may write in the folder above, and we may do anything."""
    info = os.lstat(path)
    if stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid():
        os.chown(path, *owner, follow_symlinks=False)


def not_started(error: OSError, path: str) -> CannotStart:
    """What the system's refusal to execute ``path`` means."""
    number = error.errno or 0
    if number in BUSY_MACHINE:
        return CannotStart(None, f"the machine could not start {path}: {_words(error)}")
    if number == errno.ENOENT:
        return CannotStart(NOT_FOUND, _absent(path))
    if number == errno.ENOTDIR:
        return CannotStart(NOT_FOUND, f"{path} does not exist: a part of it is not a folder")
    if number == errno.EACCES:
        return CannotStart(NOT_EXECUTABLE, _forbidden(path))
    if number == errno.ENOEXEC:
        return CannotStart(NOT_EXECUTABLE, f"{path} is no program for this machine: wrong format, or no #! line")
    if number == errno.E2BIG:
        return CannotStart(NOT_EXECUTABLE, f"the arguments and environment of {path} are too large")
    return CannotStart(NOT_EXECUTABLE, f"{path} could not be executed: {_words(error)}")


def _absent(path: str) -> str:
    if not os.path.exists(path):
        return f"{path} does not exist"
    if interpreter := _interpreter(path):
        return f"{path} cannot run: its interpreter {interpreter} does not exist"
    return f"{path} cannot run: its loader does not exist"


def _interpreter(path: str) -> str:
    try:
        with open(path, "rb") as file:
            first = file.readline(256)
    except OSError:
        return ""
    words = first[2:].split() if first.startswith(b"#!") else []
    return os.fsdecode(words[0]) if words else ""


def _forbidden(path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return f"{path} cannot be executed: permission denied"
    if stat.S_ISDIR(mode):
        return f"{path} is a folder, not a program"
    if not mode & 0o111:
        return f"{path} is not executable (chmod +x may help)"
    return f"{path} cannot be executed: permission denied"


def _words(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
