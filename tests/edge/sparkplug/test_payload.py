"""Payloads, topics, session rules, and that the generated code is that of the .proto."""

from __future__ import annotations

import importlib.resources
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.model.quality import Quality
from edge.sparkplug import payload as pl
from edge.sparkplug import topic
from edge.sparkplug.session import HostState, Sequence, StateError, next_bd_seq
from edge.sparkplug.sparkplug_b_pb2 import Metric


@given(st.integers(0, 2**13 - 1))
def test_a_quality_comes_back(quality: int) -> None:
    metric = Metric(alias=1)
    pl.set_quality(metric, quality)
    assert pl.get_quality(Metric.FromString(metric.SerializeToString())) == quality


def test_bad_and_uncertain_have_their_sparkplug_codes() -> None:
    for quality, code in ((Quality.BAD | Quality.SPIKE, 0), (Quality.UNCERTAIN | Quality.CLOCK, 500)):
        metric = Metric()
        pl.set_quality(metric, quality)
        assert metric.properties.values[0].int_value == code


def test_births_deaths_and_commands() -> None:
    birth = pl.node_birth(5, 17, {"wayside/journal": "x"})
    assert birth.seq == 0
    assert birth.metrics[0].long_value == 17
    assert pl.texts_of(birth) == {"wayside/journal": "x"}
    assert not pl.asks_rebirth(birth)
    death = pl.node_death(17)
    assert [m.name for m in death.metrics] == ["bdSeq"]
    assert not death.HasField("seq")
    assert pl.asks_rebirth(pl.rebirth_command(1))
    with pytest.raises(pl.PayloadError):
        pl.parse(b"\xff\xff")


def test_seq_wraps_and_begins_at_the_birth() -> None:
    seq = Sequence()
    assert seq.born() == 0
    assert [seq.next() for _ in range(257)] == [*range(1, 256), 0, 1]
    assert seq.born() == 0
    assert [next_bd_seq(None), next_bd_seq(4), next_bd_seq(255)] == [0, 5, 0]


def test_state_is_the_json_of_the_standard() -> None:
    assert HostState(online=True, t_ms=5).encode() == b'{"online":true,"timestamp":5}'
    assert HostState.decode(b'{"timestamp":7,"online":false}') == HostState(online=False, t_ms=7)
    with pytest.raises(StateError):
        HostState.decode(b"ONLINE")


def test_topics() -> None:
    assert str(topic.Topic("g", "DDATA", "n", "s:d")) == "spBv1.0/g/DDATA/n/s:d"
    assert topic.parse("spBv1.0/g/DDATA/n/s:d") == topic.Topic("g", "DDATA", "n", "s:d")
    assert topic.parse("spBv1.0/g/NBIRTH/n") == topic.Topic("g", "NBIRTH", "n")
    assert [topic.parse(t) for t in ("spBv1.0/STATE/h", "spBv1.0//NDATA/n", "other/g/NDATA/n")] == [None] * 3
    assert topic.is_legal_id("a b")
    assert not any(topic.is_legal_id(t) for t in ("", "a/b", "a+", "#"))


def test_the_generated_code_is_that_of_the_proto(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools (extra dev) makes the code")
    folder = Path(str(importlib.resources.files("edge") / "sparkplug"))
    target = tmp_path / "edge" / "sparkplug"
    target.mkdir(parents=True)
    shutil.copy(folder / "sparkplug_b.proto", target)
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--python_out=.", "--pyi_out=.",
         "edge/sparkplug/sparkplug_b.proto"],
        cwd=tmp_path, check=True, timeout=60,
    )  # fmt: skip
    for name in ("sparkplug_b_pb2.py", "sparkplug_b_pb2.pyi"):
        assert (target / name).read_text() == (folder / name).read_text()
