"""Migrates one database for each line of input, ``<url> <n>``, and is killed before the n-th statement (0: never).

A process of its own, which has imported everything and forks for each. It answers with the signal that ended it.
"""

import os
import signal
import sys

import alembic.command  # noqa: F401 - once, not in each fork
from sqlalchemy import Engine, event

import odin.store.schema  # noqa: F401
from odin.store.migrate import upgrade


def migrate(url: str, last: int) -> None:
    left = last

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", count)
    upgrade(url)


for line in sys.stdin:
    url, number = line.split()
    if (child := os.fork()) == 0:
        migrate(url, int(number))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
