"""The reader, from packets in a real log to rows in a real checkpoint."""

from __future__ import annotations

import dataclasses
import random
import shutil
from collections.abc import Callable, Container
from pathlib import Path
from uuid import UUID

import pytest

from edge.model.quality import Quality
from edge.sparkplug import body as bodies
from edge.sparkplug.birth import build
from edge.sparkplug.sparkplug_b_pb2 import Payload
from pipelines.engine.checkpoint import CheckpointReader
from pipelines.engine.nodes import JOURNALS_MAX, SCHEDULES_MAX, Book
from pipelines.ingest import frames
from pipelines.ingest.births import TABLES_OF_A_DEVICE
from pipelines.ingest.log import Kind
from tests.pipelines.engine.centre import Centre
from tests.pipelines.ingest.gateway import S_NS, T0_NS, Gateway, meter, publish


def fill(gateway: Gateway, seconds: int, groups: int = 1) -> None:
    gateway.date()
    for s in range(seconds):
        for g in range(groups):
            gateway.poll(g, s, [0.5 * s, 230.25, 1000 + s, s % 2 == 0, "x"])


def test_rows_by_hand(tmp_path: Path) -> None:
    gateway, centre = Gateway(tmp_path / "j", [meter()]), Centre(tmp_path)
    gateway.date()
    for s in range(120):
        if s == 30:
            gateway.poll(0, s, None)
        elif s == 40:
            gateway.poll(0, s, [None, 9e9, 1040, True, "x"], [int(Quality.BAD | Quality.NOT_AVAILABLE)] * 2 + [0] * 3)
        else:
            gateway.poll(0, s, [0.5 * s, 230.25, 1000 + s, s % 2 == 0, "x"])
    centre.row(Kind.OPENED, T0_NS)
    centre.receive(gateway.births(), T0_NS)
    centre.receive(gateway.batches(), T0_NS + 125 * S_NS)
    name = str(gateway.journal.journal)
    centre.row(Kind.RETIRE, T0_NS + 200 * S_NS, f'{{"scope":"journal","name":"{name}"}}'.encode())
    centre.read()
    centre.reader.save()
    centre.close()
    rows = {(m, tuple(sorted(tags.items())), w, t): fields for m, tags, w, t, fields in centre.rows()}
    base = (("device", "m1"), ("site", "plaza"))
    ledger = rows["ledger", (("device", "m1"), ("group", "fast"), ("site", "plaza")), 60, T0_NS]
    assert ledger == {
        "expected": 60, "arrived": 59, "missing_timeout": 1,
        "marked_active_power_w/L1_not_available": 1, "marked_voltage_v_not_available": 1,
    }  # fmt: skip
    power = rows["energy", (("device", "m1"), ("phase", "L1"), ("site", "plaza")), 60, T0_NS]
    assert power["active_power_w_max"] == 29.5
    assert power["active_power_w_n"] == 58
    whole = rows["energy", base, 60, T0_NS]
    assert (whole["import_wh_n"], whole["import_wh_last"]) == (59, 1059)
    assert (whole["voltage_v_min"], whole["voltage_v_max"], whole["voltage_v_n"]) == (230.25, 230.25, 58)
    assert rows["ledger", (("device", "m1"), ("group", "fast"), ("site", "plaza")), 60, T0_NS + 60 * S_NS][
        "arrived"
    ] == 60  # fmt: skip
    assert centre.told.states[-1]["positions"] == {gateway.journal.epoch.epoch: gateway.journal.committed}
    assert [i["kind"] for i in centre.incidents()] == ["retired"]


def city(directory: Path) -> list[tuple[bytes, int]]:
    """Packets of two gateways in a certain disorder, each with its receipt."""
    one = Gateway(directory / "one", [meter(), meter(group="slow", period_s=5), meter("m2")])
    two = Gateway(directory / "two", [meter("m3")], "gw-2")
    fill(one, 130, 3)
    fill(two, 130)
    first, second = one.batches(23), two.batches(7)
    packets = [*one.births(), *first[:30], *first[20:40], *two.births(), second[3], *second[:10], *first[38:44]]
    packets += [b"\x30\x06\x00\x03x/yz", publish("spBv1.0/city/DDATA/gw-1/plaza:m1", b"\xff\xff")]
    packets += [publish("spBv1.0/other/NBIRTH/n", b""), *second[12:14], *second[8:], *first[44:], one.death()]
    one.journal.close()
    two.journal.close()
    return [(packet, T0_NS + 140 * S_NS + n // 9 * 10**8) for n, packet in enumerate(packets)]


def rows_of(packets: list[tuple[bytes, int]], draw: Callable[[int, int], int]) -> list[tuple[list[bytes], int]]:
    """Cut packets into rows of one receipt each, wherever `draw` says."""
    rows: list[tuple[list[bytes], int]] = []
    for packet, t_ns in packets:
        if not rows or rows[-1][1] != t_ns or draw(0, 3) == 0:
            rows.append(([], t_ns))
        rows[-1][0].append(packet)
    return rows


@pytest.fixture(scope="module")
def packets(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[bytes, int]]:
    return city(tmp_path_factory.mktemp("city"))


def run(directory: Path, rows: list[tuple[list[bytes], int]], stops: Container[int] = ()) -> Centre:
    centre = Centre(directory)
    for n, (row, t_ns) in enumerate(rows):
        centre.receive(row, t_ns)
        if n in stops:
            centre.read()
            centre.reader.save()
            centre.restart()
    centre.row(Kind.RETIRE, T0_NS + 300 * S_NS, b'{"scope":"gateway","name":"city/gw-2"}')
    centre.row(Kind.RETIRE, T0_NS + 300 * S_NS, b'{"scope":"device","name":"plaza:m2"}')
    centre.read()
    centre.reader.save()
    centre.close()
    return centre


def contents(centre: Centre) -> list[bytes]:
    return [
        block.encode() for _, block in CheckpointReader(centre.directory / "checkpoint.db").blocks_after(0, 1 << 40)
    ]


def test_how_frames_are_cut_into_rows_changes_nothing(packets: list[tuple[bytes, int]], tmp_path: Path) -> None:
    rng = random.Random(5)
    whole = run(tmp_path / "whole", rows_of(packets, lambda _a, _b: 1))
    assert len([row for row in whole.rows() if row[0] == "energy"]) > 10
    for n in range(3):
        cut = run(tmp_path / f"cut{n}", rows_of(packets, rng.randint))
        assert cut.reader.position > whole.reader.position
        of_cut, of_whole = cut.states(), whole.states()
        assert of_cut.pop("mark") != of_whole.pop("mark"), "it names the last row"
        assert of_cut == of_whole
        assert contents(cut) == contents(whole)
        assert cut.incidents() == whole.incidents()


def test_a_restart_at_any_row_changes_nothing(packets: list[tuple[bytes, int]], tmp_path: Path) -> None:
    rng = random.Random(6)
    rows = rows_of(packets, rng.randint)
    whole = run(tmp_path / "whole", rows)
    for n in range(4):
        stops = set(rng.sample(range(len(rows)), 1 + 3 * n))
        stopped = run(tmp_path / f"stopped{n}", rows, stops)
        assert stopped.states() == whole.states()
        assert stopped.rows() == whole.rows()
        assert stopped.incidents() == whole.incidents()


def test_rows_read_again_after_a_crash_change_nothing(packets: list[tuple[bytes, int]], tmp_path: Path) -> None:
    rows = rows_of(packets, lambda _a, _b: 1)
    whole = run(tmp_path / "whole", rows)
    centre = Centre(tmp_path / "crashed")
    for n, (row, t_ns) in enumerate(rows):
        centre.receive(row, t_ns)
        centre.read()
        if n == len(rows) // 3:
            centre.reader.save()
        if n == len(rows) // 2:
            centre.restart()  # without a save
            centre.told.states.clear()
            centre.read()
            assert len(centre.told.states) <= 2  # one statement a journal, not one for each message read again
    for scope, name in (("gateway", "city/gw-2"), ("device", "plaza:m2")):
        centre.row(Kind.RETIRE, T0_NS + 300 * S_NS, f'{{"scope":"{scope}","name":"{name}"}}'.encode())
    centre.read()
    centre.reader.save()
    centre.close()
    assert centre.states() == whole.states()
    assert centre.rows() == whole.rows()


def test_counters_and_incidents_of_a_disorder(packets: list[tuple[bytes, int]], tmp_path: Path) -> None:
    centre = run(tmp_path, rows_of(packets, lambda _a, _b: 1))
    status = centre.reader.status()
    counters = status["counters"]
    assert counters["duplicates"] > 0
    assert counters["gaps"] == 3
    assert (counters["malformed"], counters["foreign"]) == (1, 2)
    assert status["foreign"] == {"other/n": 1}
    assert counters["records"] == 130 * 4
    assert counters["samples"] == 130 * 4 * 5
    assert [(g["gateway"], g["alive"]) for g in status["gateways"]] == [("city/gw-1", False), ("city/gw-2", True)]
    assert {g["gateway"] for g in status["groups"]} == {"city/gw-1", "city/gw-2"}
    assert [i["kind"] for i in centre.incidents()] == ["malformed", "retired", "retired"]
    gap = next(state for state in centre.told.states if state["gap"])
    assert gap["urgent"]
    assert gap["attempt"] == 7


def test_an_unknown_table_is_not_accepted_and_asked_for(tmp_path: Path) -> None:
    gateway, centre = Gateway(tmp_path / "j", [meter()]), Centre(tmp_path)
    fill(gateway, 5)
    births, batches = gateway.births(), gateway.batches()
    centre.receive([births[0], *batches], T0_NS)
    centre.read()
    assert centre.told.rebirths == [("city", "gw-1")]
    assert centre.reader.status()["counters"]["records"] == 0
    centre.receive([*births, *batches], T0_NS)
    centre.read()
    assert centre.reader.status()["counters"]["records"] == 5
    centre.reader.save()
    centre.restart()
    centre.receive(batches, T0_NS)
    centre.read()
    assert len(centre.told.rebirths) == 1  # a restart needs no birth
    assert centre.reader.status()["counters"]["unknown_tables"] == 1


def test_a_part_alone_is_held_over_a_restart(tmp_path: Path) -> None:
    gateway, centre = Gateway(tmp_path / "j", [meter(), meter("m2")]), Centre(tmp_path)
    fill(gateway, 4, 2)
    batches = gateway.batches(8)
    centre.receive([*gateway.births(), *batches[:-1]], T0_NS)
    centre.read()
    before = centre.reader.status()["counters"]["records"]
    centre.reader.save()
    centre.restart()
    centre.receive(batches[-1:], T0_NS)
    centre.read()
    assert before < centre.reader.status()["counters"]["records"] == 8


@pytest.mark.parametrize("restarts", [False, True])
def test_a_table_that_is_forgotten_between_the_parts_of_a_batch_costs_no_poll(tmp_path: Path, restarts: bool) -> None:
    gateway, centre = Gateway(tmp_path / "j", [meter(), meter("m2")]), Centre(tmp_path)
    fill(gateway, 4, 2)
    births, batches = gateway.births(), gateway.batches(8)
    newer = []
    for n in range(TABLES_OF_A_DEVICE):
        table, metrics = build([meter("m1")], 1000 + 10 * n)
        payload = Payload(timestamp=1, seq=1, metrics=metrics).SerializeToString()
        newer.append(publish(f"spBv1.0/city/DBIRTH/gw-1/{table.device_id}", payload))
    centre.receive([*births, *batches[:-1], *newer], T0_NS)
    centre.read()
    before = centre.reader.status()["counters"]["records"]
    if restarts:
        centre.reader.save()
        centre.restart()
    centre.receive(batches[-1:], T0_NS)
    centre.read()
    counters = centre.reader.status()["counters"]
    assert (counters["records"], counters["unknown_tables"], counters["malformed"]) == (before, 1, 0)
    assert centre.told.rebirths == [("city", "gw-1")]
    gateway.attempt += 1
    centre.receive([*births, *gateway.batches(8)], T0_NS)
    centre.read()
    assert centre.reader.status()["counters"]["records"] == 8


def test_what_is_remembered_of_nodes_and_journals_is_bounded() -> None:
    book, journal = Book(last_receipt_ns=T0_NS), UUID(int=1)
    for n in range(5000):
        book.may_tell("malformed", f"city/{n}")
        book.carries("city/gw-1", UUID(int=n))
        book.journal(journal).declared(n, ("plaza", "m1", f"{n}"))
        book.journal(journal).declared(0, ("plaza", "m1", "fast"))
    assert len(book.told) <= 1001
    assert not book.may_tell("malformed", "city/7"), "told in this hour"
    assert not book.may_tell("malformed", "city/5000"), "one of too many"
    assert book.node("city/gw-1").journals[-1] == str(UUID(int=4999))
    assert len(book.node("city/gw-1").journals) == JOURNALS_MAX
    assert len(book.journal(journal).schedules) == SCHEDULES_MAX
    assert book.journal(journal).schedules[0] == ("plaza", "m1", "fast"), "it was said again and again"
    book.last_receipt_ns += 3600 * S_NS
    assert book.may_tell("malformed", "city/5000")
    assert len(book.told) == 1


def test_a_clone_and_a_restored_card_are_told_of(tmp_path: Path) -> None:
    gateway, centre = Gateway(tmp_path / "j", [meter()]), Centre(tmp_path)
    fill(gateway, 5)
    gateway.batches()
    gateway.journal.close()
    shutil.copytree(tmp_path / "j", tmp_path / "copy")
    again = Gateway(tmp_path / "j", [meter()], boot="boot-2")
    again.date(T0_NS + 60 * S_NS)
    again.poll(0, 0, [1.0, 2.0, 3, True, ""])
    centre.receive([*again.births(), *again.batches()], T0_NS + 70 * S_NS)
    clone = Gateway(tmp_path / "copy", [meter()], boot="boot-3")
    clone.date(T0_NS + 62 * S_NS)
    clone.poll(0, 0, [1.0, 2.0, 3, True, ""])
    clone.node = "gw-9"
    centre.receive([*clone.births(), *clone.batches()], T0_NS + 70 * S_NS)
    centre.receive([again.death(), *again.births()], T0_NS + 71 * S_NS)
    centre.read()
    centre.reader.save()
    kinds = [i["kind"] for i in centre.incidents()]
    assert kinds == ["cloned_journal", "journal_restored", "cloned_journal"]
    assert centre.reader.status()["counters"]["records"] == 7


def test_what_is_gone_is_jumped_over_and_named(tmp_path: Path) -> None:
    gateway, centre = Gateway(tmp_path / "j", [meter()]), Centre(tmp_path)
    fill(gateway, 50)
    batches = gateway.batches(10)
    packets = [*gateway.births(), *batches[:2]]
    lost = gateway.batches(10, after=35)
    centre.receive([*packets, *with_oldest(lost, 35)], T0_NS + 60 * S_NS)
    centre.read()
    centre.reader.save()
    (jumped,) = centre.incidents()
    assert (jumped["kind"], jumped["end"], jumped["reason"]) == ("jumped", 35, "centre_restored")


def with_oldest(packets: list[bytes], oldest: int) -> list[bytes]:
    """The same packets of a gateway that has let go of everything below `oldest`."""
    data = b"\x04" + b"".join(packets)
    found = []
    for at, end, payload_at, payload_end, *_ in frames.split(data).where.tolist():
        payload = Payload.FromString(data[payload_at:payload_end])
        payload.body = dataclasses.replace(bodies.decode(payload.body), oldest=oldest).encode()
        found.append(publish(data[at:end].decode(), payload.SerializeToString()))
    return found


def test_undatable_polls_and_schedules(tmp_path: Path) -> None:
    """A boot that never had a date: its schedule holds all the same, from the first poll that has a date."""
    gateway, centre = Gateway(tmp_path / "j", [meter()]), Centre(tmp_path)
    gateway.batches()
    gateway.journal.close()
    again = Gateway(tmp_path / "j", [meter()], boot="boot-2")
    again.date(T0_NS)
    for s in range(65):
        again.poll(0, s, [1.0, 2.0, 3, True, ""])
    centre.receive([*again.births(), *again.batches()], T0_NS + 70 * S_NS)
    centre.row(Kind.RETIRE, T0_NS + 90 * S_NS, b'{"scope":"device","name":"plaza:m1"}')
    centre.read()
    centre.reader.save()
    ledger = [row[4] for row in centre.rows() if row[0] == "ledger" and row[2] == 60]
    assert ledger == [{"expected": 60, "arrived": 60}, {"expected": 5, "arrived": 5}]


def test_no_bytes_stop_the_reader(tmp_path: Path, packets: list[tuple[bytes, int]]) -> None:
    rng = random.Random(7)
    centre = Centre(tmp_path)
    for _ in range(40):
        data = bytearray(b"".join(packet for packet, _ in packets[:60]))
        for _ in range(30):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        centre.receive([bytes(data)], T0_NS + 130 * S_NS, version=rng.choice((4, 4, 5)))
    centre.row(Kind.RETIRE, T0_NS, b"{")
    centre.row(9, T0_NS)
    centre.row(0, T0_NS)
    centre.read()
    centre.reader.save()
    assert centre.reader.status()["counters"]["malformed"] > 0
    centre.restart()
    assert centre.reader.position == centre.reader.saved_position > 0
