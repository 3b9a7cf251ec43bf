"""Stands between Odin and PostgreSQL and cuts a connection at a COMMIT: before it, in it, or after it."""

from __future__ import annotations

import contextlib
import socket
import threading

COMMIT = b"COMMIT\0"
MOMENTS = ("before", "inside", "after")


class Proxy:
    """Passes everything on until ``cut_at`` names a moment of the next COMMIT; that one connection is lost then."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._moment: str | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cuts = 0
        self._is_parted = False
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def part(self) -> None:
        """Everything is lost, and nobody gets through until ``join``."""
        self._is_parted = True
        for each in self._open:
            _end(each)

    def join(self) -> None:
        self._is_parted = False

    def cut_at(self, moment: str) -> None:
        self._moment = moment

    def close(self) -> None:
        for each in (self._listener, *self._open):
            _end(each)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self._is_parted:
            _end(client)
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            _end(client)
            return
        self._open += [client, server]
        mute, answered = threading.Event(), threading.Event()
        threading.Thread(target=_answer, args=(server, client, mute, answered), daemon=True).start()
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if COMMIT in data and (moment := self._moment) is not None:
                    self._moment = None
                    self.cuts += 1
                    if moment != "before":
                        mute.set()
                        server.sendall(data)
                    if moment == "after":
                        answered.wait(60)
                    break
                server.sendall(data)
        for each in (client, server):
            _end(each)


def _answer(server: socket.socket, client: socket.socket, mute: threading.Event, answered: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := server.recv(65536):
            if mute.is_set():
                answered.set()
            else:
                client.sendall(data)
    for each in (client, server):
        _end(each)


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
