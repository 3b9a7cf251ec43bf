"""Several servers on one data folder, one database and one runner, as one user of a machine starts them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from e2e.serving import Serving


@contextmanager
def fleet(count: int, database_url: str, **settings: str) -> Iterator[list[Serving]]:
    """Servers that are not started yet; what the tasks left and said is looked at in the end."""
    first = Serving({"DATABASE_URL": database_url, **settings})
    servers = [first, *(first.beside(f"server-{number}") for number in range(2, count + 1))]
    try:
        yield servers
    finally:
        for each in servers[1:]:
            each.leave()
        first.close()
