"""Somebody else who asks the server small things meanwhile, and how long the answers take."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from client import Client
from table import percentile

PAUSE_S = 0.01


class Looking:
    """Asks for each path in turn, in a thread of its own; ``took_ms`` by the paths' names."""

    def __init__(self, client: Client, paths: Mapping[str, str]) -> None:
        self.took_ms: dict[str, list[float]] = {name: [] for name in paths}
        self._client = client
        self._paths = paths
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Looking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()

    def p99(self, name: str) -> float:
        return percentile(self.took_ms[name], 99)

    def _look(self) -> None:
        while not self._over.wait(PAUSE_S):
            for name, path in self._paths.items():
                begun = time.perf_counter()
                self._client.get(path)
                self.took_ms[name].append((time.perf_counter() - begun) * 1e3)
