"""A small city's data, made from a seed: values as arrays, and the very packets that gateways would send of them.

Each device has `parts` parts of nine points; each gateway a real journal, from which the uplink's own code cuts
batches and declares births. Polls are a second apart; one in a hundred fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.durable.journal import Journal
from edge.model.point import Datatype, Domain, Group, Kind, Point, Value
from edge.model.record import AnchorRecord, DatingRecord, Outcome, PollRecord
from edge.sparkplug.session import Sequence
from edge.sparkplug.topic import Topic
from gateway.uplink.batches import Cutter
from gateway.uplink.births import Births

S_NS = 1_000_000_000
T0_NS = 1_790_000_040 * S_NS // (300 * S_NS) * (300 * S_NS)
"""Where its time begins: the start of a 5-minute window. [ns since 1970, UTC]"""
POINTS_PER_PART = 9
INTERVAL_S = 5
"""Length of a detector's interval. [s]"""
SITE, DOMAIN = "plaza", Domain.TRAFFIC
_GROUP, _BOOT = "city", "boot-1"
_BATCH_BYTES = 64 << 10
_FAILED = 0.01
_TAIL_S = 10
"""Polls beyond the last window, so that all close."""
_WAIT_S = 60.0
GAUGES = ("power_w", "voltage_v", "current_a", "occupancy_pct", "temperature_c")
COUNTERS = ("import_wh", "vehicles_total")
DELTA, STATE = "volume", "interval_start_s"


@dataclass(frozen=True, slots=True)
class Shape:
    """One case: how much data, and how it is cut into messages."""

    case: str
    metrics: int
    """Metrics in a message: points and the poll's outcome."""
    gateways: int
    devices: int
    """Devices of a gateway."""
    parts: int
    """Parts (lanes) of a device."""
    polls: int
    """Polls of a device in one message."""
    minutes: int
    """Windows of a minute; a multiple of 5."""

    @property
    def seconds(self) -> int:
        """Polls of each device."""
        return self.minutes * 60 + _TAIL_S


@dataclass(frozen=True, slots=True)
class Device:
    """What one device measured: n polls that succeeded, p parts."""

    name: str
    ok: NDArray[np.bool_]
    """(seconds,) which polls succeeded."""
    taken_ns: NDArray[np.int64]
    """(seconds,) since T0_NS, whole milliseconds."""
    gauges: NDArray[np.float32]
    """(seconds, p, len(GAUGES))."""
    counters: NDArray[np.int64]
    """(seconds, p, len(COUNTERS))."""
    start_s: NDArray[np.int64]
    """(seconds,) start of the newest whole interval. [s since 1970, UTC]"""
    volume: NDArray[np.int64]
    """(seconds, p) vehicles of that interval."""


@dataclass(frozen=True, slots=True)
class Burst:
    """What arrives at one moment."""

    t_ns: int
    packets: bytes


@dataclass(frozen=True, slots=True)
class City:
    """Values, and the packets that carry them."""

    shape: Shape
    devices: tuple[Device, ...]
    births: bytes
    """What the gateways declare first, as packets."""
    bursts: tuple[Burst, ...]
    messages: int
    samples: int


def make(shape: Shape, seed: int, directory: Path) -> City:
    """Make the case's data; journals go to `directory`."""
    rng = np.random.default_rng(seed)
    devices: list[Device] = []
    births: list[bytes] = []
    bursts: list[Burst] = []
    messages = 0
    for g in range(shape.gateways):
        own = [_device(f"d{g}-{d}", shape, rng) for d in range(shape.devices)]
        devices += own
        sent = _sent(f"gw-{g}", own, shape, directory / f"gw-{g}")
        births += next(sent)[1]
        for t_ns, packets in sent:
            bursts.append(Burst(t_ns, b"".join(packets)))
            messages += len(packets)
    bursts.sort(key=lambda burst: burst.t_ns)
    samples = sum(int(device.ok.sum()) for device in devices) * shape.parts * POINTS_PER_PART
    return City(shape, tuple(devices), b"".join(births), tuple(bursts), messages, samples)


def publish(topic: str, payload: bytes) -> bytes:
    """Make an MQTT 3.1.1 PUBLISH at QoS 0."""
    name = topic.encode()
    size = 2 + len(name) + len(payload)
    head = bytearray(b"\x30")
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return b"".join((head, len(name).to_bytes(2, "big"), name, payload))


def _device(name: str, shape: Shape, rng: np.random.Generator) -> Device:
    n, p = shape.seconds, shape.parts
    swing = np.sin(np.arange(n)[:, None, None] / 97 + rng.uniform(0, 6, (p, len(GAUGES))))
    gauges = rng.uniform(5, 400, (p, len(GAUGES))) * (1.5 + swing) + rng.normal(0, 0.5, (n, p, len(GAUGES)))
    steps = rng.poisson(7, (n, p, len(COUNTERS)))
    interval = T0_NS // S_NS // INTERVAL_S + np.arange(n) // INTERVAL_S - 1
    volumes = rng.poisson(2, (n // INTERVAL_S + 1, p))
    return Device(
        name,
        rng.random(n) >= _FAILED,
        (np.arange(n) * 1000 + rng.integers(5, 200, n)) * 1_000_000,
        gauges.astype(np.float32),
        rng.integers(0, 10**9, (p, len(COUNTERS))) + np.cumsum(steps, axis=0),
        interval * INTERVAL_S,
        volumes[np.arange(n) // INTERVAL_S],
    )


def _points(parts: int) -> Iterator[Point]:
    for n in range(parts):
        part = (("lane", str(n + 1)),)
        start = f"{STATE}/{n + 1}"
        for name in GAUGES:
            yield Point(f"{name}/{n + 1}", Kind.GAUGE, Datatype.FLOAT, part=part)
        for name in COUNTERS:
            yield Point(f"{name}/{n + 1}", Kind.COUNTER, Datatype.INT64, part=part)
        yield Point(start, Kind.STATE, Datatype.INT64, part=part)
        delta: dict[str, Any] = {"interval_start": start, "interval_s": INTERVAL_S}
        yield Point(f"{DELTA}/{n + 1}", Kind.DELTA, Datatype.INT64, part=part, **delta)


def _values(device: Device, second: int) -> list[Value]:
    start_s = int(device.start_s[second])
    found: list[Value] = []
    gauges, counters, volume = (a[second].tolist() for a in (device.gauges, device.counters, device.volume))
    for part in range(len(volume)):
        found += [*gauges[part], *counters[part], start_s, volume[part]]
    return found


def _sent(node: str, devices: list[Device], shape: Shape, directory: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Yield (when, packets) of a session that sends all that a gateway recorded: what it declares, then its polls."""
    with Journal.open(directory, (_GROUP, node), boot=_BOOT, mono_ns=0, segment_bytes=64 << 20) as journal:
        points = tuple(_points(shape.parts))
        groups = [Group(SITE, d.name, "fast", DOMAIN, "bench@0", S_NS, points) for d in devices]
        schedules = [journal.declare(group, 0) for group in groups]
        journal.append(AnchorRecord(_BOOT, T0_NS, 0, "host", 0))
        journal.append(DatingRecord(_BOOT, journal.epoch.first, T0_NS, 0, "host", 0))
        ends = [_recorded(journal)]
        for second in range(shape.seconds):
            for schedule, device in zip(schedules, devices, strict=True):
                journal.append(_poll(schedule, device, second))
            if (second + 1) % shape.polls == 0 or second + 1 == shape.seconds:
                ends.append(_recorded(journal))
        yield from _cut(node, journal, ends, shape)


def _poll(schedule: int, device: Device, second: int) -> PollRecord:
    ok = device.ok[second]
    outcome = Outcome.OK if ok else Outcome.TIMEOUT
    taken_ns = int(device.taken_ns[second])
    return PollRecord(schedule, second * S_NS, taken_ns, int(outcome), _values(device, second) if ok else None)


def _recorded(journal: Journal) -> int:
    end = journal.flush()
    assert journal.wait(end, _WAIT_S), journal.status
    return journal.committed


def _cut(node: str, journal: Journal, ends: list[int], shape: Shape) -> Iterator[tuple[int, list[bytes]]]:
    seq = Sequence()
    births = Births(_GROUP, node, "centre", journal, seq)
    cutter = Cutter(journal, births)
    packets = [publish(m.topic, m.payload) for m in births.begin(T0_NS // 1_000_000, 0, 0)]
    at = journal.oldest
    for n, end in enumerate(ends):
        t_ns = T0_NS + min(n * shape.polls, shape.seconds) * S_NS
        while at < end:
            batch = cutter.cut(at, end, _BATCH_BYTES, 0)
            assert batch is not None
            for number, part in enumerate(batch.parts):
                topic = Topic(_GROUP, "DDATA" if part.device_id else "NDATA", node, part.device_id)
                packets.append(publish(str(topic), batch.payload(number, 1, seq.next(), t_ns // 1_000_000)))
            at = batch.b
        yield t_ns, packets
        packets = []
