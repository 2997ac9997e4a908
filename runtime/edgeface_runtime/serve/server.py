"""HTTP/1.1 over asyncio with bounds on everything a visitor can take: connections, bytes, time.

One thread serves all. `http.server` is not used: its time limits hold for one read, so a head sent byte by byte
(slowloris) keeps a thread for as long as it likes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from edgeface_runtime.serve.limits import Limits
from edgeface_runtime.serve.request import Request, parse_head
from edgeface_runtime.serve.response import Response, refuse

__all__ = ["Server"]

Answer = Callable[[Request], Awaitable[Response]]


class Server:
    """Reads requests, has them answered, sends the answers."""

    def __init__(self, answer: Answer, limits: Limits) -> None:
        self._answer = answer
        self._limits = limits
        self._open: set[asyncio.Task[Any]] = set()
        self._turned_away: set[asyncio.Task[Any]] = set()
        self._stopping = False

    async def run(self, listening: socket.socket, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then let answers under way be taken for a moment and cut the rest."""
        server = await asyncio.start_server(self._meet, sock=listening, limit=self._limits.head_bytes)
        await stop.wait()
        self._stopping = True
        server.close()
        if self._open:
            await asyncio.wait(self._open, timeout=self._limits.parting_s)
        for task in {*self._open, *self._turned_away}:
            task.cancel()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        room = len(self._open) < self._limits.connections
        crowd = self._open if room else self._turned_away
        if len(crowd) >= self._limits.connections:
            writer.transport.abort()
            return
        crowd.add(task)
        try:
            writer.transport.set_write_buffer_limits(high=0)  # so that drain() waits until everything is taken
            if room:
                while await self._exchange(reader, writer):
                    pass
            else:
                await self._send(writer, refuse(503, "503: too many viewers: close a page, or try again"))
            await _part(reader, writer)
        except (OSError, asyncio.TimeoutError, asyncio.CancelledError):
            pass  # gone, too slow, or the end
        finally:
            crowd.discard(task)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether another may follow."""
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), self._limits.head_s)
            request = parse_head(head)
        except asyncio.IncompleteReadError:
            return False
        except asyncio.LimitOverrunError:
            await self._send(writer, refuse(431, f"431: a head has at most {self._limits.head_bytes} bytes"))
            return False
        except ValueError as exc:
            await self._send(writer, refuse(400, f"400: {exc}"))
            return False
        response = await self._answer(request)
        keep = request.keep and response.status < 400 and not self._stopping
        await self._send(writer, response, with_body=request.method != "HEAD", keep=keep)
        return keep

    async def _send(
        self, writer: asyncio.StreamWriter, response: Response, with_body: bool = True, keep: bool = False
    ) -> None:
        writer.write(response.to_bytes(with_body, keep))
        await asyncio.wait_for(writer.drain(), self._limits.send_s)


async def _part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End a connection so that the last answer arrives: unread input would make the system throw it away."""
    writer.write_eof()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(_drop_input(reader), 0.5)


async def _drop_input(reader: asyncio.StreamReader) -> None:
    for _ in range(16):
        if not await reader.read(4096):
            break
