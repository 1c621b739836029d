"""Modbus RTU over a serial port: pyserial opens and sets it, the event loop drives its descriptor."""

from __future__ import annotations

import os
import termios
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import serial

from gateway.bus.descriptor import DescriptorLine
from gateway.bus.framing import RtuFraming
from gateway.bus.line import Bus

if TYPE_CHECKING:
    from edge.runtime.clock import Clock

LATE_S = 0.4
"""How long a unit that let a request time out may still be sending, where nobody says otherwise."""
_SILENT_BYTES = 3.5
_LEAST_SILENCE_S = 0.00175
"""Above 19,200 baud the silence is fixed (Modbus over serial line 1.02, §2.5.1.1)."""
_FIXED_SILENCE_BAUD = 19_200


@dataclass(frozen=True, slots=True)
class SerialSettings:
    """How a port is set; one line has one setting.

    `port` is a name that outlives a replug (by-path, by-id, a udev link): it is resolved at each opening.
    """

    port: str
    baud: int = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1
    byte_bits: Literal[7, 8] = 8

    @property
    def byte_s(self) -> float:
        """Time of one byte on the wire, with start, parity and stop bits."""
        return (1 + self.byte_bits + (self.parity != "N") + self.stop_bits) / self.baud

    @property
    def silence_s(self) -> float:
        """Silence that ends a frame, and stands before each request."""
        return _LEAST_SILENCE_S if self.baud > _FIXED_SILENCE_BAUD else _SILENT_BYTES * self.byte_s


class SerialLine(DescriptorLine):
    """A serial port. The lock on it holds against other processes and against a second name of the same port."""

    def __init__(self, settings: SerialSettings, clock: Clock) -> None:
        """Touch nothing yet."""
        super().__init__(settings.port, clock)
        self._settings = settings
        self._port: serial.Serial | None = None
        self.silence_s, self.byte_s = settings.silence_s, settings.byte_s

    async def open(self) -> None:
        """See `Line.open`."""
        self.close()
        settings = self._settings
        try:
            self._port = serial.Serial(
                settings.port,
                settings.baud,
                bytesize=settings.byte_bits,
                parity=settings.parity,
                stopbits=settings.stop_bits,
                timeout=0,
                exclusive=True,
            )
        except (ValueError, termios.error) as error:  # a setting that the port does not know; gone while being set
            raise OSError(str(error)) from error
        self._attach(self._port.fileno())

    def _read(self, n_bytes: int) -> bytes:
        return os.read(self._fd, n_bytes)

    def _write(self, data: bytearray) -> int:
        return os.write(self._fd, data)

    def _close(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None


def serial_bus(settings: SerialSettings, clock: Clock, late_s: float = LATE_S) -> Bus:
    """Make a Modbus RTU bus; nothing is opened yet."""
    return Bus(SerialLine(settings, clock), RtuFraming(), clock, late_s)
