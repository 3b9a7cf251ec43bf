"""A program: a stream whose client's network goes away without a word, and how long its server needs to notice.

Run it in user and network namespaces of its own (``unshare -Urn``), for it takes the loopback down.
"""

import asyncio
import fcntl
import socket
import struct
import sys
import time

import uvicorn

from odin.api.protocol import Doors, behind

UP, FLAGS = 1, 0x8914  # IFF_UP, SIOCSIFFLAGS


def loopback(flags):
    with socket.socket() as sock:
        fcntl.ioctl(sock, FLAGS, struct.pack("16sh14x", b"lo", flags))


async def beats(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b": still here\n\n", "more_body": True})
        await asyncio.sleep(0.1)


async def main(vanished_s):
    doors = Doors(10, vanished_s=vanished_s)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(beats, http=behind(doors), lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve([listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    await reader.readuntil(b"here")
    loopback(0)
    begun = time.monotonic()
    while doors.open:
        await asyncio.sleep(0.05)
    print(time.monotonic() - begun)
    server.force_exit = server.should_exit = True
    await serving


loopback(UP)
asyncio.run(main(float(sys.argv[1])))
