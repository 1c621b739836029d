"""A follower's process that is killed at any moment loses no row and doubles none."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import urllib3

from pipelines.query.select import Selection, Store
from pipelines.sinks.embedded import STORE_NAME
from tests.pipelines.sinks.rows import Blocks, meter_block
from tests.pipelines.sinks.servers import influxd
from tests.pipelines.sinks.test_embedded import expected, found
from tests.pipelines.sinks.test_influx import expected as expected_in_influx
from tests.pipelines.sinks.test_influx import read_back

MINUTES = 150
KILLS = [2, pytest.param(20, marks=pytest.mark.proof)]
CHILD = f"""
import sys
from pathlib import Path
from pipelines.sinks.embedded import STORE_NAME, EmbeddedStore
from pipelines.sinks.follower import Follower
from tests.pipelines.sinks.rows import Blocks, incident, meter_block
directory, url = Path(sys.argv[1]), sys.argv[2]
if url:
    from pipelines.sinks.influx import InfluxTarget
    from pipelines.sinks.settings import InfluxSettings
    target = InfluxTarget(InfluxSettings(url=url, api="v1", database="killed"), directory)
else:
    target = EmbeddedStore(directory / STORE_NAME)
source = Blocks([meter_block(m, meters=40) for m in range({MINUTES})], [incident(n) for n in range(9)])
follower = Follower(source, target, batch_bytes=0)
print("begun", flush=True)
while follower.step():
    pass
target.close()
print("done", flush=True)
"""


def killed_and_finished(directory: Path, url: str, kills: int) -> int:
    """Start the child and kill it at random moments, then let it finish; give the kills that hit."""
    rng = random.Random(5)
    hits = 0
    for _ in range(kills):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(directory), url], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        threading.Event().wait(rng.uniform(0, 0.05))  # the moment of the kill, not a wait for something
        child.kill()
        hits += child.communicate()[0] == ""
    subprocess.run([sys.executable, "-c", CHILD, str(directory), url], check=True, capture_output=True)
    return hits


@pytest.fixture(scope="module")
def source() -> Blocks:
    return Blocks([meter_block(m, meters=40) for m in range(MINUTES)])


@pytest.mark.parametrize("kills", KILLS)
def test_the_embedded_store_after_kills(tmp_path: Path, source: Blocks, kills: int) -> None:
    assert killed_and_finished(tmp_path, "", kills) > 0
    assert found(tmp_path / STORE_NAME) == expected(source.blocks)
    with Store(tmp_path / STORE_NAME) as store:
        assert len(store.incidents()) == 9
        assert len(store.rows(Selection())) == MINUTES * 40


@pytest.mark.parametrize("kills", KILLS)
def test_influx_after_kills(tmp_path: Path, source: Blocks, kills: int) -> None:
    with influxd(tmp_path / "influxd") as server:
        assert killed_and_finished(tmp_path, server.url, kills) > 0
        assert read_back(server, "killed") == expected_in_influx(source)
        assert len(read_back_incidents(server.url)) == 9


def read_back_incidents(url: str) -> list[list[object]]:
    answer = urllib3.request("GET", f"{url}/query", fields={"db": "killed", "q": 'SELECT "count" FROM incident'})
    values: list[list[object]] = answer.json()["results"][0]["series"][0]["values"]
    return values
