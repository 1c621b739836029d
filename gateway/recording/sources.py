"""Who says that the machine's wall clock can be believed, and to what error; each is asked again and again."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

_S_NS = 1_000_000_000
_HOST_ERROR_NS = _S_NS
_RTC_ERROR_NS = 5 * _S_NS
"""A crystal of 20 ppm without correction for three days; nobody knows for how long it was alone."""
_STA_UNSYNC = 0x0040
_TIME_ERROR = 5
_HCTOSYS = Path("/sys/class/rtc/rtc0/hctosys")


class Source(Protocol):
    """One reason to believe the wall clock."""

    @property
    def name(self) -> str:
        """As in `[clock] sources`."""

    def error_ns(self) -> int | None:
        """Bound of the wall clock's error now; None = this source does not vouch for it. [ns]."""


class Host:
    """The operator vouches for the machine's clock."""

    name = "host"

    def error_ns(self) -> int | None:
        """See `Source.error_ns`."""
        return _HOST_ERROR_NS


class Ntp:
    """The kernel says that its clock is kept by NTP, and how far off it may be (adjtimex, RFC 5905)."""

    name = "ntp"

    def __init__(self) -> None:
        """Touch nothing yet."""
        self._libc = ctypes.CDLL(None)

    def error_ns(self) -> int | None:
        """See `Source.error_ns`."""
        timex = _Timex()
        state = self._libc.adjtimex(ctypes.byref(timex))
        if state < 0 or state == _TIME_ERROR or timex.status & _STA_UNSYNC:  # < 0: a sandbox without adjtimex
            return None
        return int(timex.maxerror) * 1000


class Rtc:
    """The kernel took its clock from a battery-backed one at boot."""

    name = "rtc"

    def __init__(self, hctosys: Path = _HCTOSYS) -> None:
        """Touch nothing yet."""
        self._hctosys = hctosys

    def error_ns(self) -> int | None:
        """See `Source.error_ns`."""
        try:
            return _RTC_ERROR_NS if self._hctosys.read_text().strip() == "1" else None
        except OSError:
            return None


def sources(names: Sequence[str]) -> tuple[Source, ...]:
    """Make the sources of `[clock] sources`, the best first."""
    made: dict[str, type[Host | Ntp | Rtc]] = {"host": Host, "ntp": Ntp, "rtc": Rtc}
    return tuple(made[name]() for name in names)


class _Timex(ctypes.Structure):
    """`struct timex` of Linux, with room for its padding; `modes` 0 only reads."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )
