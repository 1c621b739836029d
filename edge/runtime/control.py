"""The control socket: one JSON request line, one JSON reply line, then the connection ends.

Request: `{"do": "<name>", …}`. Reply: what the handler gives, or `{"ok": false, "error": "…", "exit_code": n}`.
The socket is made with mode 0660: whoever may open it may do all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING, Any

from edge.errors import ExitCode, PeerUnreachable, ProtocolError, Refused, WaysideError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

_LINE_BYTES = 1 << 20
_REQUEST_S = 10.0
_MODE = 0o660


@contextlib.asynccontextmanager
async def serve(path: Path, handlers: Mapping[str, Handler]) -> AsyncIterator[None]:
    """Serve `handlers` by name on the socket at `path`, as long as the context lasts.

    Raises:
        Refused: another process serves there.
    """
    answering: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        answering.add(task)
        try:
            await _answer(reader, writer, handlers)
        finally:
            writer.transport.abort()  # an answer that was taken is through; one that was not is not waited for
            answering.discard(task)

    _take(path)
    mask = os.umask(0o777 & ~_MODE)  # there is no moment at which others may open it
    try:
        server = await asyncio.start_unix_server(answer, path, limit=_LINE_BYTES)
    finally:
        os.umask(mask)
    try:
        yield
    finally:
        server.close()
        _leave(path)
        for task in answering:
            task.cancel()
        if answering:
            await asyncio.wait(answering)
        await asyncio.sleep(0)  # the transports' own last step


def call(path: Path, request: dict[str, Any], timeout_s: float = 10.0) -> dict[str, Any]:
    """Ask the process that serves at `path`; return its reply.

    Raises:
        PeerUnreachable: no process serves there, or it does not answer in time.
        ProtocolError: what it says is no reply.
        WaysideError: it says no; `exit_code` is the one that its error has.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answer:
                line = answer.readline()
    except OSError as error:
        raise PeerUnreachable(str(path), error.strerror or str(error)) from error
    if not line:
        raise PeerUnreachable(str(path), "it ended without an answer")
    return _reply(path, line)


def _reply(path: Path, line: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(line)
    except ValueError as error:
        raise ProtocolError(f"{path}: no JSON line") from error
    if not isinstance(reply, dict):
        raise ProtocolError(f"{path}: no JSON object")
    if reply.get("ok") is False and "exit_code" in reply:
        answer = (Refused if reply["exit_code"] == ExitCode.REFUSED else WaysideError)(reply.get("error"))
        answer.exit_code = ExitCode(reply["exit_code"])
        raise answer
    return reply


def _take(path: Path) -> None:
    """Remove the socket that a killed process left."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise Refused(f"{path}: another process serves there; stop it first")


def _leave(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handlers: Mapping[str, Handler]) -> None:
    with contextlib.suppress(ConnectionError, TimeoutError, ValueError):  # a caller that breaks off gets no answer
        async with asyncio.timeout(_REQUEST_S):
            line = await reader.readline()
        reply = await _handle(line, handlers)
        writer.write(json.dumps(reply, default=str).encode() + b"\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def _handle(line: bytes, handlers: Mapping[str, Handler]) -> dict[str, Any]:
    try:
        request = json.loads(line)
        handler = handlers[request["do"]]
    except (ValueError, TypeError, KeyError):
        return _no(f'a JSON line with "do": one of {", ".join(sorted(handlers))}', ExitCode.USAGE)
    try:
        return await handler(request)
    except WaysideError as error:
        return _no(str(error), error.exit_code)


def _no(error: str, code: ExitCode) -> dict[str, Any]:
    return {"ok": False, "error": error, "exit_code": int(code)}
