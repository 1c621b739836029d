"""The wire's kernels beside the protobuf library: equal on every payload, whole or broken, and never out of bounds."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.sparkplug import payload as pl
from edge.sparkplug.payload import PayloadError
from edge.sparkplug.sparkplug_b_pb2 import Metric, Payload
from pipelines.ingest import columns, frames
from pipelines.ingest.births import KnownTable
from pipelines.ingest.columns import Columns, Part
from pipelines.ingest.frames import FrameError
from pipelines.ingest.series import Place, Series
from pipelines.kernels import wire
from tests.examples import examples
from tests.pipelines.ingest.gateway import publish

FIRST = 100
SHAPE = (
    (0, "a", "", ""), (1, "a", "f", "float"), (2, "a", "d", "double"), (3, "a", "i", "int64"),
    (5, "b", "", ""), (6, "b", "t", "boolean"), (7, "b", "s", "string"), (8, "a", "unknown", "double"),
    (9, "gone", "", ""), (10, "gone", "f2", "float"),
)  # fmt: skip
TABLE = KnownTable(b"12345678", "site", "dev", FIRST, SHAPE)
KINDS = {"": wire.OUTCOME, "float": wire.FLOAT, "double": wire.DOUBLE, "int64": wire.INT64, "boolean": wire.BOOLEAN}
GROUPS = {"a": (0, 4), "b": (1, 7), "gone": (2, -1)}
U64 = st.integers(0, 2**64 - 1)


class Fixed:
    """Series without an engine: places 1… of an array whose row 0 is of somebody else."""

    def __init__(self) -> None:
        self.aliases = np.zeros((1 + SHAPE[-1][0] + 1, wire.ALIAS_WORDS), np.int64)
        for n, (at, group, point, datatype) in enumerate(SHAPE):
            series = -1 if not datatype or point == "unknown" or group == "gone" else 20 + n
            self.aliases[1 + at] = (*GROUPS[group], KINDS.get(datatype, wire.STRING), series)

    def place(self, table: KnownTable) -> Place:
        return Place(1, table.first, table.span)


SERIES = cast("Series", Fixed())


@st.composite
def metrics(draw: st.DrawFn) -> Metric:
    kind = draw(st.sampled_from(["outcome", "float", "double", "long", "bool", "string", "null", "any"]))
    aliases = {"outcome": [0, 4, 5, 9], "float": [1], "double": [2, 8], "long": [3], "bool": [6], "string": [7]}
    at = draw(st.sampled_from(aliases.get(kind, list(range(12)))))
    metric = Metric(alias=FIRST + at, timestamp=draw(st.one_of(st.integers(0, 2**42), U64)))
    value = {
        "outcome": ("int_value", st.one_of(st.integers(0, 7), st.integers(0, 2**32 - 1))),
        "float": ("float_value", st.floats(width=32)),
        "double": ("double_value", st.floats()),
        "long": ("long_value", U64),
        "bool": ("boolean_value", st.booleans()),
        "string": ("string_value", st.text()),
    }
    if kind in value:
        setattr(metric, value[kind][0], draw(value[kind][1]))
    if kind == "null" or draw(st.integers(0, 9)) == 0:
        metric.is_null = True
    if draw(st.integers(0, 3)) == 0:
        if draw(st.booleans()):
            metric.properties.keys.append(draw(st.sampled_from(["engUnit", "wayside_quality", "wayside_qualitz"])))
            metric.properties.values.add(type=12, string_value="x")
        pl.set_quality(metric, draw(st.integers(1, 2**13)))
    if draw(st.integers(0, 9)) == 0:
        metric.is_historical = True
    return metric


@st.composite
def odd(draw: st.DrawFn, metric: Metric) -> Metric:
    """Something that a gateway of ours does not send."""
    what = draw(st.integers(0, 6))
    if what == 0:
        metric.name = draw(st.sampled_from(["f", "poll/outcome/a", "none"]))
        metric.ClearField("alias")
    elif what == 1:
        metric.alias = draw(U64)
    elif what == 2:
        metric.metadata.size = 4
    elif what == 3:
        metric.bytes_value = b"x"
    elif what == 4:
        metric.properties.values.add(int_value=3)
    elif what == 5:
        metric.ClearField("timestamp")
    return metric


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    found = []
    for group in draw(st.lists(st.sampled_from([(0, (1, 2, 3)), (5, (6, 7)), (9, (10,))]), max_size=4)):
        found.append(Metric(alias=FIRST + group[0], timestamp=draw(st.integers(0, 2**41)), int_value=0))
        found += [m for m in draw(st.lists(metrics(), max_size=5)) if m.alias - FIRST in group[1]]
    if draw(st.booleans()):
        found += draw(st.lists(metrics(), max_size=3))
    if found and draw(st.integers(0, 4)) == 0:
        draw(odd(found[draw(st.integers(0, len(found) - 1))]))
    payload = Payload(timestamp=5, seq=1, metrics=found, body=b"body")
    return payload.SerializeToString() + draw(st.sampled_from([b"", b"", b"\xfa\x01\x02ab", b"\x4d1234"]))


def both(data: bytes, records: int, skip: int) -> tuple[Any, Any]:
    """What a payload gives by the kernel (or what it hands on), and by protobuf alone; None = no records."""
    try:
        n = len(pl.parse(data).metrics)
    except PayloadError:
        n = len(data)
    part = Part(data, n, records, skip, TABLE, ("city/gw", "journal"))
    runs = list(columns.decode([part], SERIES))
    ((run, trouble),) = runs
    ours = None if trouble is not None and trouble.malformed else plain(run, trouble)
    try:
        slow = columns._Slow(part, SERIES, 0)
    except (columns._Malformed, PayloadError):
        return ours, None
    out, used = Columns.empty(n, n), np.zeros(2, np.int64)
    slow.write(out, used)
    lost = columns.Trouble(part, "", slow.polls, slow.ok) if slow.polls else None
    return ours, plain(out.part((0, 0), (int(used[0]), int(used[1]))), lost)


def plain(run: Columns, trouble: columns.Trouble | None) -> Any:
    arrays = [getattr(run, f.name).tobytes() for f in dataclasses.fields(run)]
    return arrays, trouble and (trouble.polls, trouble.ok)


def outcomes(data: bytes) -> int:
    return sum(m.alias - FIRST in (0, 5, 9) for m in Payload.FromString(data).metrics)


@given(payloads(), st.integers(0, 2), st.integers(-1, 1))
@examples(100, 1500)
def test_the_kernel_and_protobuf_agree(data: bytes, skip: int, wrong: int) -> None:
    ours, theirs = both(data, max(outcomes(data) + (wrong if skip == 2 else 0), 0), skip)
    assert ours == theirs


@given(payloads(), st.data())
@examples(100, 1500)
def test_they_agree_on_broken_payloads(data: bytes, draw: st.DataObject) -> None:
    broken = bytearray(data)
    records = outcomes(data)
    for _ in range(draw.draw(st.integers(1, 3))):
        if broken:
            broken[draw.draw(st.integers(0, len(broken) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    del broken[draw.draw(st.integers(0, len(broken)) | st.just(len(broken))) :]
    ours, theirs = both(bytes(broken), records, 0)
    assert ours == theirs


@given(st.binary(max_size=80), st.integers(0, 3))
@examples(100, 1500)
@example(b"\x12\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 0)
@example(b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 0)
def test_they_agree_on_noise(data: bytes, records: int) -> None:
    ours, theirs = both(data, records, 0)
    assert ours == theirs


def test_what_a_gateway_sends_needs_no_protobuf(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = Payload(timestamp=5, seq=1, body=b"body")
    payload.metrics.add(alias=FIRST, timestamp=1_790_000_000_000, int_value=0, is_historical=True)
    payload.metrics.add(alias=FIRST + 1, timestamp=1_790_000_000_007, float_value=0.1)
    payload.metrics.add(alias=FIRST + 3, timestamp=1_790_000_000_007, long_value=2**64 - 5)
    pl.set_quality(payload.metrics.add(alias=FIRST + 2, timestamp=3, is_null=True), 6)
    payload.metrics.add(alias=FIRST + 5, timestamp=1_790_000_000_000, int_value=3)
    payload.metrics.add(alias=FIRST + 5, timestamp=1_790_000_001_000, int_value=0)
    payload.metrics.add(alias=FIRST + 6, timestamp=1_790_000_001_001, boolean_value=True)
    payload.metrics.add(alias=FIRST + 7, timestamp=1_790_000_001_001, string_value="grün")
    monkeypatch.setattr(columns, "_Slow", None)
    part = Part(payload.SerializeToString(), 8, 3, 0, TABLE, ("city/gw", "journal"))
    ((run, trouble),) = columns.decode([part, part._replace(metrics=0, records=0, payload=b"")], SERIES)
    assert trouble is None
    assert run.record_group.tolist() == [4, 7, 7]
    assert run.record_due_ns.tolist() == [1_790_000_000_000_000_000] * 2 + [1_790_000_001_000_000_000]
    assert run.record_outcome.tolist() == [0, 3, 0]
    assert run.record_end.tolist() == [3, 3, 5]
    assert run.series.tolist() == [21, 23, 22, 25, 26]
    assert run.value[0] == float(np.float32(0.1))
    assert run.integer.tolist() == [0, -5, 0, 1, 0]
    assert run.has_value.tolist() == [True, True, False, True, False]
    assert run.quality.tolist() == [0, 0, 6, 0, 0]


def test_a_run_ends_at_each_part_that_there_is_something_to_tell_of() -> None:
    good = Payload()
    good.metrics.add(alias=FIRST, timestamp=1, int_value=0)
    good.metrics.add(alias=FIRST + 1, timestamp=1, float_value=1.0)
    lost = Payload()
    lost.metrics.add(alias=FIRST + 9, timestamp=1, int_value=0)
    fine = Part(good.SerializeToString(), 2, 1, 0, TABLE, ("city/gw", "journal"))
    undeclared = Part(lost.SerializeToString(), 1, 1, 0, TABLE, ("city/gw", "journal"))
    named = Payload.FromString(fine.payload)
    named.metrics[1].ClearField("alias")
    named.metrics[1].name = "f"
    slow = fine._replace(payload=named.SerializeToString())
    runs = list(columns.decode([fine, slow, undeclared, fine, fine._replace(records=2), slow], SERIES))
    assert [(run.record_end.tolist(), t and (t.polls, t.ok, bool(t.malformed))) for run, t in runs] == [
        ([1, 2], (1, 1, False)), ([1], (0, 0, True)), ([1], None),
    ]  # fmt: skip


@given(st.lists(st.tuples(st.text(min_size=1, max_size=20), st.binary(max_size=300))), st.sampled_from([4, 5]))
def test_frames_come_back(packets: list[tuple[str, bytes]], version: int) -> None:
    data = bytes([version]) + b"".join(publish(t, p, version=version) for t, p in packets)
    found = frames.split(data)
    where = found.where.tolist()
    assert [(data[w[0] : w[1]].decode(), data[w[2] : w[3]]) for w in where] == packets
    assert found.rest == 0


@given(st.lists(st.binary(max_size=40), min_size=1), st.integers(1, 30), st.sampled_from([4, 5]))
def test_a_cut_costs_the_last_frame(payload: list[bytes], cut: int, version: int) -> None:
    packets = [publish("a/b", p, version=version) for p in payload]
    cut = min(cut, len(packets[-1]) - 1)
    found = frames.split(bytes([version]) + b"".join(packets)[:-cut])
    assert (len(found.where), found.rest) == (len(packets) - 1, len(packets[-1]) - cut)


@given(st.binary(max_size=200))
def test_noise_gives_frames_within_it(noise: bytes) -> None:
    for version in (b"\x04", b"\x05"):
        where = frames.split(version + noise).where
        assert ((where[:, :4] >= 0) & (where[:, :4] <= len(noise) + 1)).all()
    assert frames.split(b"\x04\x32\x05\x00\x01ab").rest == 6  # QoS 1: no frame of ours


def test_a_row_of_another_version_is_refused() -> None:
    for data in (b"", b"\x03\x30\x00"):
        with pytest.raises(FrameError):
            frames.split(data)


def test_many_frames_and_properties_of_mqtt_5() -> None:
    one = b"\x30\x08\x00\x01a\x02\x01\x01\x2a\x00"
    found = frames.split(b"\x05" + one * 9000)
    assert (len(found.where), found.rest) == (9000, 0)
    assert found.where[8999].tolist()[2:6] == [8999 * 10 + 9, 8999 * 10 + 11, 8999 * 10 + 11, 8999 * 10 + 11]


@given(payloads())
def test_the_outline_finds_the_body(data: bytes) -> None:
    parsed = Payload.FromString(data)
    assert frames.outline(data) == (b"body", len(parsed.metrics))
    assert frames.outline(data + b"\x2a\x01x").body == b"x"


@pytest.mark.proof
@pytest.mark.timeout(600)  # everything is compiled anew
def test_no_kernel_reads_or_writes_out_of_bounds(tmp_path: Path) -> None:
    here = "tests/pipelines/kernels/test_wire.py"
    env = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-k", "agree or frame or noise", "-m", "not proof", here]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout
