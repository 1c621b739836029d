"""What others hear of the host: a client of its own at the broker, with everything it heard, in order."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from edge.delivery.acknowledge import Acknowledgement, decode
from edge.runtime.clock import RealClock
from edge.runtime.mqtt import Broker, BrokerGone, Connection, Message
from edge.runtime.wire import Address
from edge.sparkplug.session import HostState
from pipelines.ingest.broker import HostBroker
from pipelines.ingest.host import Host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

WAIT_S = 20.0
STATE = "spBv1.0/STATE/centre"
_numbers = itertools.count()
NODE, JOURNAL, EPOCH = ("city", "gw-1"), UUID(int=1), 0xAB


@dataclass
class Heard:
    """One message, and when it came. [s, monotonic]"""

    topic: str
    payload: bytes
    s: float


class Listener:
    """Hears STATE, acknowledgements and commands, over one connection after another."""

    def __init__(self, port: int) -> None:
        name = f"listener-{next(_numbers)}"
        self._broker = Broker(Address("127.0.0.1", port), name, RealClock(), random.Random(1))
        self.heard: list[Heard] = []
        self.connection: Connection | None = None
        self._news = asyncio.Event()

    async def run(self) -> None:
        while True:
            with contextlib.suppress(BrokerGone):
                async with self._broker.session(_no_will) as connection:
                    connection.on_message = self._hear
                    await connection.subscribe([STATE, "wayside/v1/ack/#", "spBv1.0/+/NCMD/+"], 1)
                    self.connection = connection
                    self._news.set()
                    await connection.lost
            self.connection = None

    async def until(self, condition: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                while not condition():
                    self._news.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), 0.05)
        except TimeoutError:
            raise AssertionError(self.heard) from None

    def states(self) -> list[HostState]:
        return [HostState.decode(each.payload) for each in self.heard if each.topic == STATE]

    def online(self) -> list[bool]:
        return [state.online for state in self.states()]

    def acknowledgements(self) -> list[Acknowledgement]:
        return [decode(each.payload) for each in self.heard if each.topic.startswith("wayside/v1/ack/")]

    def times(self, start: str) -> list[float]:
        return [each.s for each in self.heard if each.topic.startswith(start)]

    def positions(self) -> list[int]:
        return [position for said in self.acknowledgements() for position in said.positions.values()]

    def say_state(self, *, online: bool, t_ms: int) -> None:
        assert self.connection is not None
        self.connection.publish(Message(STATE, HostState(online, t_ms).encode(), 1, retain=True))

    def _hear(self, topic: str, payload: bytes) -> None:
        self.heard.append(Heard(topic, payload, time.monotonic()))
        self._news.set()


class Centre:
    """A host as the centre makes it, with the answers that the centre's other parts would give."""

    def __init__(self, address: Address) -> None:
        self.pressed, self.able = False, True
        self.broker = HostBroker(address, "wayside-centre-host", RealClock(), random.Random(2))
        self.host = Host(
            "centre",
            self.broker,
            RealClock(),
            pressed=lambda: self.pressed,
            is_able=lambda: self.able,
            draw=random.Random(3),
        )

    def put(
        self, position: int, journal: UUID = JOURNAL, *, gap: bool = False, urgent: bool = False, size: int = 10
    ) -> None:
        self.host.state(NODE, journal, {EPOCH: position}, gap=gap, attempt=1, urgent=urgent, taken_bytes=size)

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[Host]:
        async with running(self.host.run()):
            yield self.host


@contextlib.asynccontextmanager
async def listening(port: int) -> AsyncIterator[Listener]:
    listener = Listener(port)
    async with running(listener.run()):
        await listener.until(lambda: listener.connection)
        yield listener


@contextlib.asynccontextmanager
async def running(work: object) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        assert asyncio.iscoroutine(work)
        task = tasks.create_task(work, name="tests.running")
        yield
        task.cancel()


async def _no_will() -> None:
    return None
