"""Servers beside a test that are there at once and gone at once.

uvicorn looks ten times a second whether it is to leave, waits a tenth of a second for its connections, and
looks ten times a second whether they are gone: a quarter of a second for each of a thousand tests.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from freehold.gateway.http import Told


class Prompt(Told):
    """A server that leaves when it is told to, as soon as nothing is being answered.

    What takes longer than `patience` seconds is given up.
    """

    def __init__(self, config: uvicorn.Config, patience: float = 10.0) -> None:
        super().__init__(config)
        self._patience = patience

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for accepting in (*self.servers, *(sockets or ())):
            accepting.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self._patience):
                while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 – nobody tells
                    await asyncio.sleep(0.002)
        except TimeoutError:
            for task in list(self.server_state.tasks):
                task.cancel()


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The address of an app that a thread serves, for as long as the block lasts."""
    config = uvicorn.Config(app, log_level="error", lifespan="off", access_log=False)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Prompt(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.leave()
            thread.join()
