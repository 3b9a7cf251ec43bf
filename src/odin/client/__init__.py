"""The small HTTP layer under the commands: addresses, tokens, requests, streams.

It shares no code with the server and imports only light modules at the top, because a command's start-up is a
product figure (performance.md, W8): no dataclasses, typing, pathlib, logging, asyncio or subprocess.
"""
