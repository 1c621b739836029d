"""A model of the centre: the real acceptor behind a real broker, and a host that can forget, be still, and complain."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from typing import TYPE_CHECKING

from edge.delivery.acceptor import Acceptor, Decision, Jump
from edge.delivery.acknowledge import Acknowledgement, encode, epoch_key
from edge.runtime.clock import RealClock
from edge.runtime.mqtt import Address, Broker, BrokerGone, Connection, Message
from edge.sparkplug import topic
from edge.sparkplug.birth import Table
from edge.sparkplug.birth import parse as parse_birth
from edge.sparkplug.body import NO_TABLE, decode
from edge.sparkplug.payload import parse, rebirth_command, texts_of
from edge.sparkplug.session import HostState
from tests.gateway.uplink.material import Identity, Said, read_polls, undatable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from edge.model.record import Record
    from edge.sparkplug.body import Body, Undatable
    from edge.sparkplug.sparkplug_b_pb2 import Payload

WAIT_S = 30.0


class Centre:
    """Everything it hears, in order, and what it has taken."""

    def __init__(self, port: int, host: str = "centre") -> None:
        self.host = host
        self.broker = Broker(Address("127.0.0.1", port), "centre", RealClock(), random.Random(2))
        self.acceptor = Acceptor()
        self.tables: dict[bytes, Table] = {}
        self.taken: dict[Identity, Said] = {}
        self.extras: dict[Identity, tuple[int | None, Record | Undatable]] = {}
        self.jumps: list[Jump] = []
        self.heard: list[tuple[topic.Topic, Payload]] = []
        self.journal: uuid.UUID | None = None
        self.grant = 65536
        self.silent = self.deaf = False
        self.asked = 0
        self.largest = 0
        self.decisions: list[Decision] = []
        self._connection: Connection | None = None
        self._session, self._n = "", 0
        self._news = asyncio.Event()
        self.begin_session()

    def begin_session(self) -> None:
        self._session, self._n = f"{random.getrandbits(64):016x}", 0

    def forget(self) -> None:
        """A new centre, put in this one's place."""
        self.acceptor = Acceptor()
        self.begin_session()

    async def run(self) -> None:
        async def will() -> None:
            return None

        while True:
            with contextlib.suppress(BrokerGone):
                async with self.broker.session(will) as connection:
                    connection.on_message = self._hear
                    await connection.subscribe(["spBv1.0/city/#"])
                    self._connection = connection
                    self._news.set()
                    await connection.lost
            self._connection = None

    async def until(self, condition: Callable[[], object], wait_s: float = WAIT_S) -> None:
        async with asyncio.timeout(wait_s):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def heard_kinds(self) -> list[str]:
        return [name.kind for name, _ in self.heard]

    def payloads(self, kind: str) -> list[Payload]:
        return [payload for name, payload in self.heard if name.kind == kind]

    def publish(self, name: str, payload: bytes, *, retain: bool = False) -> None:
        if self._connection is not None:
            self._connection.publish(Message(name, payload, 0, retain))

    @property
    def connected(self) -> bool:
        return self._connection is not None

    def ask_rebirth(self) -> None:
        self.publish("spBv1.0/city/NCMD/gw-1", rebirth_command(1).SerializeToString())

    def state(self, online: bool, t_ms: int) -> None:
        self.publish(topic.state(self.host), HostState(online, t_ms).encode(), retain=True)

    def acknowledge(self, *, gap: bool = False, attempt: int = 0) -> None:
        if self.silent or self.journal is None:
            return
        self._n += 1
        positions = {epoch_key(epoch): at for epoch, at in self.acceptor.positions(self.journal).items()}
        word = Acknowledgement(self._session, self._n, self.journal, positions, self.grant, gap, attempt)
        self.publish(topic.acknowledgement("city", "gw-1", self.host), encode(word))

    def _hear(self, name: str, data: bytes) -> None:
        where = topic.parse(name)
        assert where is not None
        payload = parse(data)
        self.heard.append((where, payload))
        if not self.deaf:
            self._understand(where, payload, data)
        self._news.set()

    def _understand(self, where: topic.Topic, payload: Payload, data: bytes) -> None:
        if where.kind == "NBIRTH":
            self.journal = uuid.UUID(texts_of(payload)["wayside/journal"])
            self.acknowledge()
        elif where.kind == "DBIRTH":
            table = parse_birth(payload)
            self.tables[table.hash] = table
        elif payload.body:
            self._offer(decode(payload.body), data)

    def _offer(self, body: Body, data: bytes) -> None:
        if body.table != NO_TABLE and body.table not in self.tables:
            self.asked += 1
            self.ask_rebirth()
            return
        verdict = self.acceptor.offer(body, data)
        self.decisions.append(verdict.decision)
        self.jumps.extend(verdict.jumps)
        if verdict.decision is Decision.TAKEN:
            self.largest = max(self.largest, sum(map(len, verdict.parts)))
            for part in verdict.parts:
                self._take(parse(part), verdict.take_from)
        if verdict.decision is not Decision.HELD:
            self.acknowledge(gap=verdict.decision is Decision.GAP, attempt=body.attempt)

    def _take(self, payload: Payload, take_from: int) -> None:
        body = decode(payload.body)
        if body.table == NO_TABLE:
            for offset, extra in zip(body.offsets, body.extras, strict=True):
                if offset >= take_from:
                    assert (body.epoch, offset) not in self.extras, "twice"
                    self.extras[body.epoch, offset] = extra
            return
        for offset, said in read_polls(payload, body, self.tables[body.table]).items():
            if offset >= take_from:
                assert (body.epoch, offset) not in self.taken, "twice"
                self.taken[body.epoch, offset] = said

    @property
    def undatable(self) -> int:
        return undatable(tuple(self.extras.values()))


@contextlib.asynccontextmanager
async def running(centre: Centre) -> AsyncIterator[None]:
    """Let the centre listen; end it with the context."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(centre.run(), name="tests.centre")
        await centre.until(lambda: centre.connected)
        yield
        task.cancel()
