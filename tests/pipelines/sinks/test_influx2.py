"""The v2 path against a real InfluxDB 2: exact values, a refused type, a kill, an emptied bucket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from edge.runtime.supervisor import Backoff
from pipelines.engine.blocks import RowShape
from pipelines.sinks.follower import Follower
from pipelines.sinks.influx import InfluxTarget
from pipelines.sinks.settings import InfluxSettings
from tests.pipelines.sinks.rows import T0_NS, Blocks, block, meter_block
from tests.pipelines.sinks.servers import Server, influxd2, until
from tests.pipelines.sinks.test_influx import expected, follow, read_back

ORG, BUCKET, TOKEN = "city", "wayside", "a-token-of-the-city"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with influxd2(tmp_path / "influxd2", ORG, BUCKET, TOKEN) as running:
        yield running


@pytest.fixture
def where(server: Server, tmp_path: Path) -> InfluxSettings:
    (tmp_path / "token").write_text(TOKEN)
    return InfluxSettings(url=server.url, api="v2", bucket=BUCKET, org=ORG, token_file=tmp_path / "token")


def test_every_row_is_there_once_with_equal_bits(server: Server, where: InfluxSettings, tmp_path: Path) -> None:
    source = Blocks([meter_block(minute) for minute in range(50)])
    assert follow(source, where, tmp_path)["state"] == "following"
    assert read_back(server, BUCKET, token=TOKEN) == expected(source)


def test_a_line_of_a_wrong_type_is_set_aside(server: Server, where: InfluxSettings, tmp_path: Path) -> None:
    good = Blocks([meter_block(minute) for minute in range(5)])
    follow(good, where, tmp_path / "first")
    wrong = block(
        RowShape("energy", ("import_wh_increase",), ()), [((("device", "x"),), 60, T0_NS, {"import_wh_increase": 0.5})]
    )
    status = follow(Blocks([meter_block(5), wrong, meter_block(6)]), where, tmp_path / "second")
    assert status["quarantined"] == 1
    assert json.loads(Path(status["quarantine"]).read_text())["status"] == 422
    assert read_back(server, BUCKET, token=TOKEN) == expected(Blocks([meter_block(minute) for minute in range(7)]))


def test_a_kill_in_mid_refill(server: Server, where: InfluxSettings, tmp_path: Path) -> None:
    source = Blocks([meter_block(minute, meters=100) for minute in range(60)])
    follower = Follower(source, InfluxTarget(where, tmp_path), backoff=Backoff(0.05, 0.2), batch_bytes=10_000)
    thread = threading.Thread(target=follower.run)
    thread.start()
    until(lambda: follower.status()["block"] >= 20)
    server.kill()
    until(lambda: follower.status()["state"] == "waiting")
    server.start()
    until(lambda: follower.status()["behind_blocks"] == 0)
    follower.stop()
    thread.join(10)
    assert read_back(server, BUCKET, token=TOKEN) == expected(source)


def test_an_emptied_bucket_is_refilled(server: Server, where: InfluxSettings, tmp_path: Path) -> None:
    source = Blocks([meter_block(minute) for minute in range(5)])
    follow(source, where, tmp_path)
    span = {"start": "1970-01-01T00:00:00Z", "stop": "2100-01-01T00:00:00Z"}
    url = f"{server.url}/api/v2/delete?org={ORG}&bucket={BUCKET}"
    headers = {"Authorization": f"Token {TOKEN}"}
    assert urllib3.request("POST", url, json=span, headers=headers, retries=False).status == 204
    assert read_back(server, BUCKET, token=TOKEN) == {}
    follow(source, where, tmp_path)
    assert read_back(server, BUCKET, token=TOKEN) == expected(source)


def test_a_bucket_that_is_missing_is_shown_and_waited_for(where: InfluxSettings, tmp_path: Path) -> None:
    missing = where.model_copy(update={"bucket": "not made yet"})
    follower = Follower(Blocks([meter_block(1)]), InfluxTarget(missing, tmp_path), backoff=Backoff(0.05, 0.1))
    thread = threading.Thread(target=follower.run)
    thread.start()
    until(lambda: "HTTP 404" in str(follower.status()["error"]))
    follower.stop()
    thread.join(10)
    assert follower.status()["block"] == 0
