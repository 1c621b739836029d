"""A pseudo-terminal with Modbus RTU units behind it that answer well, late, in pieces, damaged, twice or not at all."""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pymodbus.framer import FramerRTU

Send = tuple[float, bytes]
"""After so many seconds, these bytes."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it arrived."""

    unit_id: int
    function: int
    address: int
    count: int
    raw: bytes

    def answer(self, register: Callable[[int], int]) -> bytes:
        data = b"".join(register(a).to_bytes(2, "big") for a in range(self.address, self.address + self.count))
        return with_crc(bytes((self.unit_id, self.function, len(data))) + data)

    def refuse(self, code: int) -> bytes:
        return with_crc(bytes((self.unit_id, self.function | 0x80, code)))


def with_crc(frame: bytes) -> bytes:
    return frame + FramerRTU.compute_CRC(frame).to_bytes(2, "big")


Behaviour = Callable[[Asked], list[Send]]


@dataclass
class Terminal:
    """Plug it in, and units answer behind `link`, as `behaviour` says."""

    link: Path
    behaviour: Behaviour
    asked: list[Asked] = field(default_factory=list)
    _master: int = -1
    _slave: int = -1
    _buffer: bytearray = field(default_factory=bytearray)
    _timers: set[asyncio.TimerHandle] = field(default_factory=set)

    def plug(self) -> Terminal:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.link.symlink_to(os.ttyname(self._slave))
        asyncio.get_running_loop().add_reader(self._master, self._on_readable)
        return self

    def unplug(self) -> None:
        if self._master < 0:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._buffer.clear()
        self.link.unlink()
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1

    def send(self, data: bytes) -> None:
        os.write(self._master, data)

    def _on_readable(self) -> None:
        self._buffer += os.read(self._master, 4096)
        while len(self._buffer) >= 8:
            self._take(bytes(self._buffer[:8]))
            del self._buffer[:8]

    def _take(self, raw: bytes) -> None:
        assert with_crc(raw[:6]) == raw, "the bus sent a bad frame"
        asked = Asked(raw[0], raw[1], int.from_bytes(raw[2:4], "big"), int.from_bytes(raw[4:6], "big"), raw)
        self.asked.append(asked)
        for delay_s, data in self.behaviour(asked):
            if delay_s == 0:
                self.send(data)
            else:
                self._later(delay_s, data)

    def _later(self, delay_s: float, data: bytes) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            self.send(data)

        timer = asyncio.get_running_loop().call_later(delay_s, fire)
        self._timers.add(timer)


def echo_address(address: int) -> int:
    """A register whose value names it."""
    return address


def good(asked: Asked) -> list[Send]:
    return [(0, asked.answer(echo_address))]
