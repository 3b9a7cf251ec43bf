"""The Python client, ``from odin import Client``, and the small HTTP under it: addresses, tokens, requests, streams.

The commands are written on it. It shares no code with the server and imports only light modules at the top, because a
command's start-up is a product figure (performance.md, W8): no dataclasses, typing, pathlib, logging, asyncio or
subprocess.
"""
