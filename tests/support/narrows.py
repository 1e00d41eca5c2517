"""A way to a server on which a long answer stays in the middle until it is let on."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

MOST = 8 << 20
"""Bytes of an answer that get through before."""


class Narrows:
    """Passes on what is said to `url` and what is answered; `url` of its own is where it listens."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (str(parts.hostname), int(parts.port or 80))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Narrows:
        return self

    def let_on(self) -> None:
        """Whatever was held back goes on."""
        self._open.set()

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.let_on()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # closing alone leaves `accept` waiting
        self._listener.close()
        for one in self._sockets:
            _end(one)
        for thread in self._threads:
            thread.join()
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                for way in ((client, server, False), (server, client, True)):
                    thread = threading.Thread(target=self._pass_on, args=way)
                    self._threads.append(thread)
                    thread.start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, holds: bool) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if holds and passed > MOST:
                    self._open.wait()
                sink.sendall(data)
                passed += len(data)
        _end(source)
        _end(sink)


def _end(one: socket.socket) -> None:
    """For both sides, whoever waits in it."""
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
