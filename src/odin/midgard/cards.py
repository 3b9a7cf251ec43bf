"""The GPUs as they were last read, how old that is, and what is wrong if something is."""

from __future__ import annotations

import json
import random
import time

from odin.midgard.child import Child, Gone
from odin.nvml import NoGpus, load, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from odin.nvml import Gpu

PATIENCE_S = 5.0
START_S = 30.0  # the driver may wake all its cards first
RETRY_S = 60.0  # a driver may be installed later, and come back after a reset
JITTER = 0.2


class Cards:
    """A party that reads the GPUs every ``interval_s``, give or take a fifth so that nodes do not march in step.

    ``reading`` grows with each time, also when nothing could be read; 0 says that the first is still to come.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._child = Child(Reader())
        self._is_asked = False
        self._ask_from = 0.0
        self._due = 0.0
        self._read_at: float | None = None
        self.gpus: list[Gpu] = []
        self.trouble = ""
        self.reading = 0

    def age_s(self) -> float:
        """How old the GPUs' figures are; 0 if there never were any."""
        return 0.0 if self._read_at is None else time.monotonic() - self._read_at

    def watched(self) -> Mapping[int, int]:
        return self._child.watched()

    def due(self) -> float:
        return self._child.deadline if self._is_asked else self._due

    def turn(self, now: float) -> None:
        if self._is_asked:
            self._child.end()
            self._failed("the GPU driver did not answer in time", now)
            return
        self._due = now + self._interval_s * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
        if now < self._ask_from:
            self._child.is_buried()
            self.reading += 1
        elif self._child.ask(b"", patience_s=PATIENCE_S if self._child.is_there else START_S):
            self._is_asked = True
        else:
            self._failed("the GPU driver holds a process that was killed", now)

    def ready(self, _descriptor: int) -> None:
        now = time.monotonic()
        try:
            answer = self._child.hear()
        except Gone:
            self._failed("reading the GPUs failed", now)
            return
        if answer is None:
            return
        found: dict[str, Any] = json.loads(answer)
        if found["trouble"]:
            self._child.end()  # the driver that comes may be another one
            self.gpus, self._read_at = [], None
            self._failed(found["trouble"], now)
        else:
            self.gpus, self.trouble, self._read_at = found["gpus"], "", now
            self._told()

    def close(self) -> None:
        self._child.end()

    def _failed(self, trouble: str, now: float) -> None:
        self.trouble = trouble
        self._ask_from = now + RETRY_S
        self._told()

    def _told(self) -> None:
        self._is_asked = False
        self.reading += 1


class Reader:
    """What the child does: it loads NVML once, as that may take seconds, and reads the GPUs when asked."""

    def __init__(self) -> None:
        self._nvml: Any = None

    def __call__(self, _question: bytes) -> bytes:
        try:
            self._nvml = self._nvml or load()
            found = {"gpus": read(self._nvml), "trouble": ""}
        except NoGpus as error:
            found = {"gpus": [], "trouble": str(error)}
        return json.dumps(found).encode()
