"""git as a child process: its environment, a time limit, and the end of its whole process group.

Nothing that a user or the machine configured reaches it, and nothing of this server's environment but what ssh
and proxies need. Source: dependencies.md, section 4; reliability.md, A-30 to A-32.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PASSED_ON = (
    "PATH",
    "HOME",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "no_proxy",
    "NO_PROXY",
)
SHOWN = 400


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a git program ended; ``code`` is None where its time was up and it was killed."""

    code: int | None
    error: str

    @property
    def reason(self) -> str:
        """The last thing it said, for people."""
        lines = [line.strip() for line in self.error.splitlines() if line.strip()]
        telling = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "ssh:"))] or lines
        return " ".join(telling)[-SHOWN:] or f"git ended with {self.code}"


def environment(folder: Path, settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a git program that works on ``folder`` gets; ``settings`` are git's own, for this call alone."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    config = {"safe.directory": str(folder), **(settings or {})}
    env = {
        **passed,
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_ALLOW_PROTOCOL": "ssh:https:file",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=5",
        "GIT_CONFIG_COUNT": str(len(config)),
    }
    for number, (name, value) in enumerate(config.items()):
        env |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return env


def run(arguments: Sequence[str], *, env: Mapping[str, str], timeout_s: float, keep: Sequence[int] = ()) -> Outcome:
    """Run ``git <arguments>`` to its end. ``keep`` are descriptors it inherits."""
    child = subprocess.Popen(
        ["git", *arguments],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=tuple(keep),
    )
    try:
        said, _ = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        end(child)
        said, _ = child.communicate()
        return Outcome(None, f"no answer within {timeout_s:g} s")
    except BaseException:
        end(child)
        child.communicate()
        raise
    return Outcome(child.returncode, said.decode("utf-8", "replace"))


def end(child: subprocess.Popen[bytes], how: signal.Signals = signal.SIGKILL) -> None:
    """Signal a child that was not waited for yet, and all it started."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, how)
