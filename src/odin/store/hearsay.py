"""What servers on one PostgreSQL call out to each other: that something happened, and nothing more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from sqlalchemy import text

from odin.model.errors import OdinError
from odin.store.database import Database, translated

CHANNEL = "odin"
MOVED, LEAVING = "moved", "leaving"  # a pipeline, or what is asked of one; a server
LONGEST_S = 1.0  # without looking whether it is to end


class Hearsay:
    """``listen`` is for one thread, on a connection of its own; ``say`` and ``close`` for any."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._closed = threading.Event()

    def say(self, word: str = MOVED) -> None:
        with self._database.writer() as connection:
            connection.execute(text("SELECT pg_notify(:channel, :word)"), {"channel": CHANNEL, "word": word})

    def listen(self) -> Iterator[str]:
        """A word once when it begins, for what was missed, and then whatever is said.

        Raises Unavailable when the connection breaks.
        """
        with self._database.connect_writer() as connection:
            raw: Any = connection.connection.dbapi_connection
            with translated():
                raw.autocommit = True
                raw.execute(f"LISTEN {CHANNEL}")
            yield MOVED
            try:
                while not self._closed.is_set():
                    with translated():
                        heard = list(raw.notifies(timeout=LONGEST_S, stop_after=1))
                    yield from (each.payload for each in heard)
            finally:
                with suppress(OdinError), translated():
                    connection.invalidate()

    def close(self) -> None:
        self._closed.set()
