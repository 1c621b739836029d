"""The gateway's own batches through the reader: the same rows as those that a second writer of docs/wire.md gives."""

from __future__ import annotations

from pathlib import Path

from edge.sparkplug.session import Sequence
from edge.sparkplug.topic import Topic
from gateway.uplink.batches import Cutter
from gateway.uplink.births import Births
from pipelines.ingest.log import Kind
from tests.pipelines.engine.centre import Centre
from tests.pipelines.ingest.gateway import S_NS, T0_NS, Gateway, meter, publish


def sent(gateway: Gateway, max_bytes: int) -> list[bytes]:
    """All that a session of the real uplink sends of a journal, cut to about `max_bytes` a batch."""
    journal = gateway.journal
    assert journal.wait(journal.flush(), 20)
    births = Births("city", gateway.node, "centre", journal, Sequence())
    cutter = Cutter(journal, births)
    messages = [(m.topic, m.payload) for m in births.begin(1, 3, 0)]
    at = journal.oldest
    while at < journal.committed:
        batch = cutter.cut(at, journal.committed, max_bytes, T0_NS + 60 * S_NS)
        assert batch is not None
        messages += [(m.topic, m.payload) for m in births.due(1)]
        for number, part in enumerate(batch.parts):
            topic = Topic("city", "DDATA" if part.device_id else "NDATA", gateway.node, part.device_id)
            messages.append((str(topic), batch.payload(number, 1, 1, 1)))
        at = batch.b
    return [publish(topic, payload) for topic, payload in messages]


def test_the_uplinks_batches_give_the_same_rows(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "j", [meter(), meter(group="slow", period_s=5), meter("m2")])
    gateway.date()
    for s in range(200):
        for g in range(3):
            if g == 1 and s % 5:
                continue
            failed = (s + g) % 17 == 3
            quality = [0, 6, 0, 1025, 2] if s % 9 == 0 else None
            value = None if s % 9 == 0 else 229.5 + s / 7
            gateway.poll(g, s, None if failed else [s / 3, value, 1000 + s, s % 2 == 0, "ä"], quality)
    found = []
    by_hand = [*gateway.births(), *gateway.batches(11)]
    for name, packets in (("hand", by_hand), ("one", sent(gateway, 300)), ("two", sent(gateway, 60_000))):
        centre = Centre(tmp_path / name)
        centre.receive(packets, T0_NS + 201 * S_NS)
        centre.row(Kind.RETIRE, T0_NS + 300 * S_NS, b'{"scope":"gateway","name":"city/gw-1"}')
        centre.read()
        centre.reader.save()
        centre.close()
        counters = centre.reader.status()["counters"]
        assert (counters["records"], counters["malformed"], counters["gaps"]) == (440, 0, 0)
        found.append(centre.rows())
    assert len(found[0]) > 20
    assert found[0] == found[1] == found[2]
