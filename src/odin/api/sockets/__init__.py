"""The WebSocket tier: one JSON request a connection, on ``/`` and ``/v1/ws``. Source: api.md, "WebSocket tier"."""
