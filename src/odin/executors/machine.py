"""The machine of the local executor and its GPUs.

NVML is asked in a thread of its own, late: a driver that hangs costs old values, not the server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from odin import machine
from odin.executors.protocol import Machines
from odin.nvml import gpus, load

if TYPE_CHECKING:
    from odin.nvml import Gpu

FRESH_S = 2.0
PATIENCE_S = 5.0


class LocalNodes:
    """``Nodes`` of one machine. ``slots`` is how many tasks of one CPU it runs at once: its CPUs, unless said."""

    def __init__(self, *, slots: int | None = None, load: Callable[[], Any] = load) -> None:
        self._slots = slots or machine.cpus()
        self._load = load
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="odin-nvml")
        self._asked: Future[list[Gpu]] | None = None
        self._known: list[Gpu] = []
        self._fresh_until = 0.0

    @staticmethod
    def cards(load: Callable[[], Any] = load) -> tuple[str, ...]:
        """The GPUs' indexes, as ``CUDA_VISIBLE_DEVICES`` takes them in the order of the bus; asked at once."""
        return tuple(str(index) for index, _ in enumerate(gpus(load)))

    async def nodes(self) -> Machines:
        gpus = await self._gpus()
        node = {
            "host": machine.host(),
            "internalIP": machine.address(),
            "cpu": machine.cpus(),
            "memory": machine.memory(),
            "pods": self._slots,
            "nvidia.com/gpu": len(gpus),
            "gpus": gpus,
        }
        return Machines((node,))

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
