"""The setting for old clients that know no tokens: what it opens is said at the start and each minute."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

EACH_S = 60.0
WARNING = "ODIN_LEGACY_WS is on: whoever reaches this server can run and remove anything by WebSocket, without a token"
log = logging.getLogger("odin.sockets")


@asynccontextmanager
async def warned(on: bool) -> AsyncIterator[None]:
    """Warn now and each minute while the block runs, if the setting is on."""
    warning = asyncio.get_running_loop().create_task(_warn()) if on else None
    try:
        yield
    finally:
        if warning is not None:
            warning.cancel()
            await asyncio.wait([warning])


async def _warn() -> None:
    while True:
        log.warning(WARNING)
        await asyncio.sleep(EACH_S)
