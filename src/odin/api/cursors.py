"""Positions in a list as clients carry them about: signed, so that nobody can ask from where they were not sent."""

from __future__ import annotations

import base64
import binascii
import hmac

from odin.model.errors import InvalidInput

SIGNATURE_BYTES = 8
LONGEST = 64


class Cursors:
    """Writes and reads cursors with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def write(self, number: int) -> str:
        position = number.to_bytes(8, "big")
        return base64.urlsafe_b64encode(position + self._sign(position)).decode().rstrip("=")

    def read(self, cursor: str) -> int:
        """Raises InvalidInput for a cursor that this server did not write."""
        try:
            found = base64.urlsafe_b64decode(cursor[:LONGEST] + "=" * (-len(cursor) % 4))
        except (ValueError, binascii.Error):
            found = b""
        position, signature = found[:8], found[8:]
        if not hmac.compare_digest(signature, self._sign(position)):
            raise InvalidInput("the cursor is not one of this server's; begin without one")
        return int.from_bytes(position, "big")

    def _sign(self, position: bytes) -> bytes:
        return hmac.digest(self._key, position, "sha256")[:SIGNATURE_BYTES]
