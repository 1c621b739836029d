"""The front: keeps one connection to the broker, and puts what it gives into the log as it came.

Reading and appending are one thread: a slow disk is felt by the broker as a slow reader, and by nobody as memory.
Stateless: it may lose, repeat or reorder, since acceptance makes that harmless. While the log is full what comes is
dropped and counted; the gateways keep it, since nothing is acknowledged.
"""

from __future__ import annotations

import contextlib
import enum
import os
import queue
import select
import threading
from typing import TYPE_CHECKING, Any

from edge.errors import ProtocolError, Refused, StorageError, StorageFull
from edge.runtime.ready import event
from edge.runtime.supervisor import Backoff
from edge.runtime.wire import Address, BrokerGone, Version
from edge.sparkplug.topic import NAMESPACE
from pipelines.crew import promise
from pipelines.ingest.log import ROW_BYTES
from pipelines.ingest.session import READ_BYTES, OtherVersion, Session

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from concurrent.futures import Future

    from edge.runtime.clock import Clock
    from pipelines.ingest.log import Log

FILTERS = (
    *(f"{NAMESPACE}/+/{kind}/+" for kind in ("NBIRTH", "NDATA", "NDEATH")),
    *(f"{NAMESPACE}/+/{kind}/+/+" for kind in ("DBIRTH", "DDATA", "DDEATH")),
)
"""What edge nodes say; commands and STATE are not for the log."""
COMMIT_S = 0.1
TICK_S = 10.0
LEAST_PAUSE_S, MOST_PAUSE_S = 0.5, 30.0
STEADY_S = 5.0
"""A connection that lasted so long was good: the next attempt comes soon."""
PACKET_BYTES = 2 << 20
"""Larger packets are passed over; a batch has 64 KiB, a birth of ten thousand metrics about 1.5 MiB."""
_GATHER_S = 0.01
"""After a small read we wait this long, so that one call reads what came meanwhile."""


class Stage(enum.StrEnum):
    """How far the front is."""

    CONNECTING = "connecting"
    SUBSCRIBED = "subscribed"
    PAUSING = "pausing"
    """Refused, unreachable or lost; tried again after a pause that grows, with jitter."""
    STOPPED = "stopped"


class Front:
    """The one writer of the log; `run` is its thread. `stop`, `retire`, `status` and the counters serve any thread."""

    def __init__(
        self,
        address: Address,
        client_id: str,
        log: Log,
        clock: Clock,
        *,
        changed: Callable[[], None] = lambda: None,
        draw: random.Random | None = None,
    ) -> None:
        """Build; `changed` is called from the thread when `is_subscribed` may have changed."""
        self._address, self._client_id, self._log, self._clock = address, client_id, log, clock
        self._changed = changed
        self._version = Version.V5 if address.version is Version.AUTO else address.version
        self._is_guess = False
        self._backoff = Backoff(LEAST_PAUSE_S, MOST_PAUSE_S, draw)
        self._requests: queue.SimpleQueue[tuple[str, str, Future[int]]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._wakes, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._next_tick_s = 0.0
        self._row, self._row_since_s = bytearray(), 0.0
        self.stage = Stage.CONNECTING
        self.reason = ""
        self.connections = self.packets = self.received_bytes = self.oversized = 0

    @property
    def is_subscribed(self) -> bool:
        """Whether the broker gives us what edge nodes say."""
        return self.stage is Stage.SUBSCRIBED

    def run(self) -> None:
        """Keep the connection until `stop`.

        Raises:
            StorageError: the log's medium failed.
        """
        try:
            while not self._stopping.is_set():
                began_s = self._clock.real_s()
                try:
                    self._serve()
                except (OSError, ProtocolError, BrokerGone) as error:
                    self._lost(error, began_s)
                self._pause()
        finally:
            self._enter(Stage.STOPPED)
            self._refuse_all()

    def stop(self) -> None:
        """Ask `run` to return."""
        self._stopping.set()
        self._wake_up()

    def retire(self, scope: str, name: str) -> Future[int]:
        """Append a retirement; the result is the offset that a reader must have passed for it to be done."""
        answer: Future[int] = promise()
        self._requests.put((scope, name, answer))
        self._wake_up()
        return answer

    def close(self) -> None:
        """Free what `run` no longer needs."""
        os.close(self._wakes)
        os.close(self._wake)

    def status(self) -> dict[str, Any]:
        """Say what an operator is shown."""
        return {
            "state": str(self.stage),
            "error": self.reason or None,
            "broker": str(self._address),
            "mqtt": str(self._version),
            "connections": self.connections,
            "packets": self.packets,
            "received_bytes": self.received_bytes,
            "oversized": self.oversized,
        }

    def _serve(self) -> None:
        """Make one connection and read it until it is lost or `stop`."""
        self._enter(Stage.CONNECTING)
        session = Session(self._address, self._version, self._client_id, self._clock, PACKET_BYTES)
        try:
            session.subscribe(FILTERS, self._wakes, self._stopping.is_set)
            self.connections += 1
            self.reason = ""
            event("front_subscribed", broker=str(self._address), mqtt=str(self._version))
            self._enter(Stage.SUBSCRIBED)
            while not self._stopping.is_set():
                size = session.turn(self._wakes, self._next_due_s())
                self._take(session, size)
                self._keep_house()
                if 0 < size < READ_BYTES // 4:
                    self._wait(_GATHER_S)
        finally:
            session.close()
            self._commit()

    def _lost(self, error: Exception, began_s: float) -> None:
        self.reason = error.reason if isinstance(error, BrokerGone) else str(error) or type(error).__name__
        event("front_lost", broker=str(self._address), error=self.reason)
        if self._clock.real_s() - began_s >= STEADY_S:
            self._backoff.reset()
        if self._address.version is Version.AUTO:
            self._choose_version(error)
        self._enter(Stage.PAUSING)

    def _choose_version(self, error: Exception) -> None:
        """A broker that knows another version says so, or just closes; the latter is no proof, and not kept."""
        if isinstance(error, OtherVersion):
            self._version = Version.V311 if self._version is Version.V5 else Version.V5
            self._is_guess = not error.is_sure
        elif self._is_guess and self.stage is Stage.SUBSCRIBED:
            self._version, self._is_guess = Version.V5, False

    def _enter(self, stage: Stage) -> None:
        changed, self.stage = stage is not self.stage, stage
        if changed:
            self._changed()

    def _pause(self) -> None:
        until_s = self._clock.real_s() + self._backoff.pause_s()
        while not self._stopping.is_set() and (left_s := until_s - self._clock.real_s()) > 0:
            self._keep_house()
            self._wait(min(left_s, max(self._next_due_s() - self._clock.real_s(), 0.0)))

    def _take(self, session: Session, size: int) -> None:
        """Move what the session has into the row to be."""
        split, publishes = session.wire.split, session.publishes
        self.received_bytes += size
        self.packets += split.packets
        self.oversized += split.oversized
        split.packets = split.oversized = 0
        if not publishes:
            return
        if len(self._row) + len(publishes) > ROW_BYTES:
            self._commit()
        if not self._row:
            self._row_since_s = self._clock.real_s()
        self._row += publishes
        publishes.clear()
        if len(self._row) > ROW_BYTES - READ_BYTES:
            self._commit()

    def _commit(self) -> None:
        if self._row:
            self._log.frames(5 if self._version is Version.V5 else 4, self._row)
            self._row.clear()

    def _keep_house(self) -> None:
        """Do what is due, and what other threads ask for."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakes, 4096)
        now_s = self._clock.real_s()
        if self._row and now_s >= self._row_since_s + COMMIT_S:
            self._commit()
        while not self._requests.empty():
            self._answer(*self._requests.get())
        if now_s >= self._next_tick_s:
            self._next_tick_s = now_s + TICK_S
            self._log.tick()

    def _next_due_s(self) -> float:
        return min(self._next_tick_s, self._row_since_s + COMMIT_S) if self._row else self._next_tick_s

    def _answer(self, scope: str, name: str, answer: Future[int]) -> None:
        """Append a retirement, behind what came before it."""
        self._commit()
        try:
            answer.set_result(self._log.retire(scope, name))
        except StorageFull as error:
            answer.set_exception(Refused(f"{error}; try again when there is space"))
        except StorageError as error:
            answer.set_exception(error)
            raise

    def _refuse_all(self) -> None:
        while not self._requests.empty():
            self._requests.get()[2].set_exception(Refused("the centre is stopping"))

    def _wait(self, timeout_s: float) -> None:
        """Wait for a call from another thread, and for nothing else."""
        select.select([self._wakes], [], [], timeout_s)

    def _wake_up(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is awake
            os.write(self._wake, b"!")
