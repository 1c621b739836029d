"""The reader, from packets in a real log to rows in a real checkpoint."""

from __future__ import annotations

from pathlib import Path

from edge.model.quality import Quality
from pipelines.engine.reader import OPENED, RETIRE
from tests.pipelines.engine.centre import Centre
from tests.pipelines.ingest.gateway import S_NS, T0_NS, Gateway, meter


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
    centre.row(OPENED, T0_NS)
    centre.receive(gateway.births(), T0_NS)
    centre.receive(gateway.batches(), T0_NS + 125 * S_NS)
    name = str(gateway.journal.journal)
    centre.row(RETIRE, T0_NS + 200 * S_NS, f'{{"scope":"journal","name":"{name}"}}'.encode())
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
