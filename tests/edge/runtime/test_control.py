"""The control socket answers in one line, refuses in one line, and is taken over from the dead only."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from typing import TYPE_CHECKING, Any

import pytest

from edge.errors import ExitCode, PeerUnreachable, ProtocolError, Refused, StorageFull, WaysideError
from edge.runtime.control import call, serve
from edge.runtime.ready import ready, stopping

if TYPE_CHECKING:
    from pathlib import Path


async def status(request: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, "state": "running", "asked": request.get("for")}


async def refuse(_request: dict[str, Any]) -> dict[str, Any]:
    raise Refused("not before it is drained")


async def full(_request: dict[str, Any]) -> dict[str, Any]:
    raise StorageFull("no space")


HANDLERS = {"status": status, "refuse": refuse, "full": full}


async def test_a_request_is_answered(tmp_path: Path) -> None:
    path = tmp_path / "control"
    async with serve(path, HANDLERS):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        reply = await asyncio.to_thread(call, path, {"do": "status", "for": "é"})
        assert reply == {"ok": True, "state": "running", "asked": "é"}
        with pytest.raises(Refused, match="drained"):
            await asyncio.to_thread(call, path, {"do": "refuse"})
        with pytest.raises(WaysideError, match="no space") as caught:
            await asyncio.to_thread(call, path, {"do": "full"})
        assert caught.value.exit_code is ExitCode.REFUSED
        with pytest.raises(WaysideError, match="full, refuse, status") as caught:
            await asyncio.to_thread(call, path, {"do": "dance"})
        assert caught.value.exit_code is ExitCode.USAGE
    assert not path.exists()
    assert WaysideError.exit_code is ExitCode.BUG


@pytest.mark.parametrize("request_line", [b"\n", b"no json\n", b"[1]\n", b'{"do":[1]}\n', b"\xff\xfe\n"])
async def test_nonsense_is_answered_with_what_is_expected(tmp_path: Path, request_line: bytes) -> None:
    async with serve(tmp_path / "control", HANDLERS):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "control")
        writer.write(request_line)
        reply = json.loads(await reader.readline())
        assert (reply["ok"], reply["exit_code"]) == (False, 2)
        writer.close()


async def test_a_caller_that_breaks_off_harms_nobody(tmp_path: Path) -> None:
    async with serve(tmp_path / "control", HANDLERS):
        for line in (b'{"do":', b"x" * (2 << 20)):
            _, writer = await asyncio.open_unix_connection(tmp_path / "control")
            writer.write(line)
            writer.close()
        assert (await asyncio.to_thread(call, tmp_path / "control", {"do": "status"}))["ok"]


async def test_a_dead_process_socket_is_taken_over_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(PeerUnreachable):
        call(path, {"do": "status"})
    async with serve(path, HANDLERS):
        with pytest.raises(Refused, match="another process"):
            async with serve(path, HANDLERS):
                pass
        assert (await asyncio.to_thread(call, path, {"do": "status"}))["ok"]


def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(PeerUnreachable, match="No such file"):
        call(tmp_path / "control", {"do": "status"})


@pytest.mark.parametrize(
    ("answer", "error"), [(b"", PeerUnreachable), (b"what\n", ProtocolError), (b"[]\n", ProtocolError)]
)
async def test_an_answer_that_is_none_is_told(tmp_path: Path, answer: bytes, error: type[Exception]) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(say, tmp_path / "control")
    async with server:
        with pytest.raises(error):
            await asyncio.to_thread(call, tmp_path / "control", {"do": "status"})


@pytest.mark.parametrize("abstract", [False, True])
def test_readiness_is_told_to_systemd_and_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], abstract: bool
) -> None:
    address = f"@wayside-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address.replace("@", "\0"))
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        ready(listen=1883)
        assert systemd.recv(100) == b"READY=1"
        stopping()
        assert systemd.recv(100) == b"STOPPING=1"
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines == [{"event": "ready", "listen": 1883}, {"event": "stopping"}]


def test_without_systemd_readiness_is_the_line_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    ready()
    assert capsys.readouterr().err == '{"event":"ready"}\n'
