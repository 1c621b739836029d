"""The exceptions of all five packages, cut by who must act.

WaysideError
├── ConfigurationError   the operator must correct a file (exit 2)
├── PeerUnreachable      a broker, database, bus or server does not answer (exit 3)
├── Refused              the request is understood and not allowed now (exit 4)
├── ProtocolError        bytes from a peer break its protocol
│   └── RemoteError      the peer answered correctly, and its answer is an error
└── StorageError         a durable record could not be written or read: the medium is a peer, too (exit 3)
    └── StorageFull      there is no space, or the quota is reached: somebody must free some (exit 4)
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any


class ExitCode(enum.IntEnum):
    """What every `wayside` command ends with."""

    DONE = 0
    ANSWER_IS_NO = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    BUG = 70


class WaysideError(Exception):
    """Base of every error that this product raises on purpose."""

    exit_code = ExitCode.BUG


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong in a file: where it stands, what stands there, what was expected."""

    file: str
    path: str
    value: Any
    expected: str
    nearest: str | None = None

    def __str__(self) -> str:
        """Say it in one line a person can act on."""
        hint = f"; nearest is {self.nearest!r}" if self.nearest else ""
        value = "" if self.value is None else f"{self.value!r}: "
        return f"{self.file}: {self.path}: {value}expected {self.expected}{hint}"


class ConfigurationError(WaysideError):
    """A configuration or profile file is wrong; carries every mistake found, not the first."""

    exit_code = ExitCode.USAGE

    def __init__(self, mistakes: list[Mistake]) -> None:
        """Keep the mistakes; the message is one line for each."""
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in mistakes))


class PeerUnreachable(WaysideError):
    """A peer did not answer; trying again later may help."""

    exit_code = ExitCode.UNREACHABLE

    def __init__(self, peer: str, reason: str) -> None:
        """Name the peer and what was seen."""
        self.peer = peer
        self.reason = reason
        super().__init__(f"{peer}: {reason}")


class Refused(WaysideError):
    """The request is understood and not allowed now; the message says what to do."""

    exit_code = ExitCode.REFUSED


class ProtocolError(WaysideError):
    """Bytes from a peer that its protocol does not allow."""


class RemoteError(ProtocolError):
    """A well-formed answer that says no, for example a Modbus exception."""

    def __init__(self, code: int, text: str) -> None:
        """Keep the peer's own code."""
        self.code = code
        super().__init__(f"{text} (code {code})")


class StorageError(WaysideError):
    """A durable record could not be written or read."""

    exit_code = ExitCode.UNREACHABLE


class StorageFull(StorageError):
    """No space, or the quota is reached; nothing already recorded is affected."""

    exit_code = ExitCode.REFUSED
