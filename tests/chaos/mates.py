"""Two servers on one PostgreSQL and one data folder, and with that on one repository and one runner."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from chaos.havoc import database
from e2e.serving import Serving, until

OUTLIVED = """
SELECT expires_at < extract(epoch FROM clock_timestamp()) AND NOT EXISTS
 (SELECT 1 FROM pipelines WHERE owner = servers.id AND status IN ('BUILDING', 'RUNNING'))
FROM servers WHERE name LIKE %s"""


@dataclass(frozen=True)
class Pair:
    """Neither is started yet."""

    url: str
    first: Serving
    second: Serving

    def outlived(self, server: Serving) -> None:
        """Wait until its lease is over and nothing that is in flight is its own any more."""
        assert server.process is not None
        name = f"process {server.process.pid} on %"
        until(lambda: self._ask(OUTLIVED, name), told=self.first.said, pause_s=0.05)

    def _ask(self, question: str, *values: str) -> bool:
        with psycopg.connect(self.url) as connection:
            row = connection.execute(question, values).fetchone()
        return row is not None and bool(row[0])


@contextmanager
def pair() -> Iterator[Pair]:
    with database("postgresql") as postgres:
        assert postgres is not None
        url = postgres.empty()
        first = Serving({"DATABASE_URL": url, "LOCAL_CPUS": "16"})
        second = first.beside("server-2")
        try:
            yield Pair(url, first, second)
        finally:
            if second.alive:
                assert second.process is not None
                second.process.send_signal(signal.SIGCONT)
                second.kill()
            first.close(quiet=False)
