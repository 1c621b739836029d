"""The InfluxDB follower against real servers: exact values, outages, kills, refusals, replacements."""

from __future__ import annotations

import json
import resource
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
import urllib3

from edge.runtime.supervisor import Backoff
from pipelines.engine.blocks import RowShape
from pipelines.sinks.follower import Batch, Cursor, Follower
from pipelines.sinks.influx import InfluxTarget, _append
from pipelines.sinks.influx_http import connect
from pipelines.sinks.line import encode, window_name
from pipelines.sinks.settings import InfluxSettings
from tests.pipelines.sinks.rows import T0_NS, Blocks, block, meter_block
from tests.pipelines.sinks.servers import Server, influxd, until, victoria

DATABASE = "wayside"


@pytest.fixture(scope="module")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with influxd(tmp_path_factory.mktemp("influxd")) as server:
        yield server


@pytest.fixture
def running() -> Iterator[Callable[[Follower], Follower]]:
    """Run followers in threads until the test ends."""
    started: list[tuple[Follower, threading.Thread]] = []

    def start(follower: Follower) -> Follower:
        thread = threading.Thread(target=follower.run, name="follower")
        thread.start()
        started.append((follower, thread))
        return follower

    yield start
    for follower, thread in started:
        follower.stop()
        thread.join(10)
        assert not thread.is_alive()


def settings(server: Server, database: str, api: Any = "v1") -> InfluxSettings:
    if api == "v1":
        return InfluxSettings(url=server.url, api="v1", database=database)
    return InfluxSettings(url=server.url, api="v2", bucket=database, org="city")


def follow(source: Blocks, where: InfluxSettings, directory: Path) -> dict[str, Any]:
    target = InfluxTarget(where, directory)
    follower = Follower(source, target)
    while follower.step():
        pass
    status = follower.status()
    target.close()
    return status


def read_back(server: Server, database: str, measurement: str = "energy", token: str = "") -> dict[Any, dict[str, Any]]:
    """Every row of a measurement by InfluxQL, floats as their bits."""
    answer = urllib3.request(
        "GET",
        f"{server.url}/query",
        fields={"db": database, "epoch": "ns", "q": f'SELECT * FROM "{measurement}" GROUP BY *'},
        headers={"Authorization": f"Token {token}"} if token else {},
        retries=False,
    )
    rows = {}
    # Go prints -0.0 as "-0" and whole floats without a point: numbers are read as text, and by the field's type.
    for series in json.loads(answer.data, parse_int=str, parse_float=str)["results"][0].get("series", []):
        tags = tuple(sorted(series["tags"].items()))
        for values in series["values"]:
            named = dict(zip(series["columns"], values, strict=True))
            key = (tags, int(named.pop("time")))
            assert key not in rows
            rows[key] = {n: said(n, v) for n, v in named.items() if v is not None}
    return rows


def said(name: str, text: str) -> int | bytes:
    whole = name.endswith(("_increase", "_n", "_sum"))
    return int(text) if whole else struct.pack("<d", float(text))


def expected(source: Blocks) -> dict[Any, dict[str, Any]]:
    return {
        (tuple(sorted([*tags, ("window", window_name(window_s))])), t_ns): {
            n: struct.pack("<d", v) if isinstance(v, float) else v for n, v in fields.items()
        }
        for each in source.blocks
        for tags, window_s, t_ns, fields in each.rows()
    }


def test_every_row_is_there_once_with_equal_bits(influx: Server, tmp_path: Path) -> None:
    source = Blocks([meter_block(minute) for minute in range(50)])
    status = follow(source, settings(influx, "exact"), tmp_path)
    assert read_back(influx, "exact") == expected(source)
    assert status["state"] == "following"
    assert status["behind_blocks"] == 0
    follow(source, settings(influx, "exact"), tmp_path / "another cursor")
    assert read_back(influx, "exact") == expected(source)


def test_a_server_that_is_killed_in_mid_refill_ends_with_every_row_once(
    tmp_path: Path, running: Callable[[Follower], Follower]
) -> None:
    source = Blocks([meter_block(minute, meters=200) for minute in range(60)])
    with influxd(tmp_path / "influxd") as server:
        target = InfluxTarget(settings(server, DATABASE), tmp_path)
        quick = Backoff(0.05, 0.2)
        follower = running(Follower(source, target, backoff=quick, batch_bytes=20_000))
        for part in (10, 25, 40):
            until(lambda part=part: follower.status()["block"] >= part)  # type: ignore[misc] # bound in the loop
            server.kill()
            until(lambda: follower.status()["state"] == "waiting")
            assert follower.status()["error"]
            server.start()
        until(lambda: follower.status()["behind_blocks"] == 0)
        assert read_back(server, DATABASE) == expected(source)
        assert follower.status()["quarantined"] == 0


def test_a_database_that_is_not_up_yet_loses_nothing(tmp_path: Path, running: Callable[[Follower], Follower]) -> None:
    source = Blocks([meter_block(minute) for minute in range(3)])
    with influxd(tmp_path / "influxd") as server:
        server.kill()
        target = InfluxTarget(settings(server, DATABASE), tmp_path)
        follower = running(Follower(source, target, backoff=Backoff(0.05, 0.2)))
        until(lambda: follower.status()["state"] == "waiting")
        assert "refused" in follower.status()["error"].lower()
        server.start()
        until(lambda: follower.status()["behind_blocks"] == 0)
        source.blocks.append(meter_block(3))
        follower.notify()
        until(lambda: follower.status()["behind_blocks"] == 0)
        assert read_back(server, DATABASE) == expected(source)


def test_lines_of_a_wrong_type_are_set_aside_and_the_others_go_on(influx: Server, tmp_path: Path) -> None:
    where = settings(influx, "conflict")
    good = Blocks([meter_block(minute, meters=30) for minute in range(10)])
    follow(good, where, tmp_path / "first")
    wrong = block(
        RowShape("energy", ("import_wh_increase",), ()),
        [((("device", f"bad {n}"), ("site", "x")), 60, T0_NS, {"import_wh_increase": n + 0.5}) for n in range(3)],
    )
    both = Blocks([meter_block(10), wrong, meter_block(11)])
    status = follow(both, where, tmp_path / "second")
    assert read_back(influx, "conflict") == expected(good) | expected(Blocks([both.blocks[0], both.blocks[2]]))
    assert status["quarantined"] == 3
    assert "field type conflict" in status["rejected"]
    entries = [json.loads(line) for line in Path(status["quarantine"]).read_text().splitlines()]
    assert [entry["status"] for entry in entries] == [400] * 3
    assert all(entry["line"].startswith("energy,device=bad") for entry in entries)


def test_a_rejected_line_waits_for_space_to_be_set_aside(
    tmp_path: Path, running: Callable[[Follower], Follower]
) -> None:
    with Refusing(400) as server:
        target = InfluxTarget(settings(server, DATABASE), tmp_path)
        target.quarantine_path.symlink_to("/dev/full")
        source = Blocks([meter_block(1), meter_block(2)])
        follower = running(Follower(source, target, backoff=Backoff(0.02, 0.1)))
        until(lambda: "no space left" in str(follower.status()["error"]))
        assert (follower.status()["state"], follower.status()["block"]) == ("waiting", 0)
        target.quarantine_path.unlink()
        until(lambda: follower.status()["behind_blocks"] == 0)
        assert follower.status()["quarantined"] == 8
        lines = [json.loads(line)["line"].encode() for line in target.quarantine_path.read_text().splitlines()]
        assert lines == [line for each in source.blocks for line in encode(each)]


def test_where_space_ends_within_a_line_the_file_keeps_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "rejected.ndjson"
    _append(path, ["first"])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            _append(path, ["second", "third"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    _append(path, ["second", "third"])
    assert path.read_text() == "first\nsecond\nthird\n"


def test_damaged_blocks_are_known_after_a_restart(tmp_path: Path) -> None:
    with Refusing(204) as server:
        server.allow()
        target = InfluxTarget(settings(server, DATABASE), tmp_path)
        target.cursor()
        target.write(Batch((), (), Cursor(3, 0, 0, (3,))))
        target.close()
        assert target.cursor() == Cursor(3, 0, 0, (3,))
        target.close()


def test_an_answer_that_no_influxdb_gives_is_waited_out(
    tmp_path: Path, running: Callable[[Follower], Follower]
) -> None:
    with Refusing(204, query_status=400) as server:
        server.allow()
        target = InfluxTarget(settings(server, DATABASE), tmp_path)
        follower = running(Follower(Blocks([meter_block(1)]), target, backoff=Backoff(0.02, 0.1)))
        until(lambda: follower.status()["state"] == "waiting")
        assert "HTTP 400" in follower.status()["error"]


def test_an_infinite_value_costs_its_own_line_only(influx: Server, tmp_path: Path) -> None:
    rows: list[Any] = [
        ((("device", f"m{n}"),), 60, T0_NS, {"x_mean": v}) for n, v in enumerate((1.0, float("inf"), 2.0))
    ]
    status = follow(
        Blocks([block(RowShape("infinite", ("x_mean",), ()), rows)]), settings(influx, "infinite"), tmp_path
    )
    assert len(read_back(influx, "infinite", "infinite")) == 2
    assert status["quarantined"] == 1


def test_a_database_that_was_emptied_is_refilled_from_the_first_block(influx: Server, tmp_path: Path) -> None:
    source = Blocks([meter_block(minute) for minute in range(10)])
    where = settings(influx, "emptied")
    follow(source, where, tmp_path)
    database = connect(where)
    database.influxql('DROP DATABASE "emptied"')
    database.close()
    follow(source, where, tmp_path)
    assert read_back(influx, "emptied") == expected(source)


def test_points_older_than_the_retention_are_dropped_by_the_database_not_set_aside(
    influx: Server, tmp_path: Path
) -> None:
    where = settings(influx, "short")
    database = connect(where)
    database.influxql('CREATE DATABASE "short" WITH DURATION 1h')
    old = block(RowShape("energy", ("x_mean",), ()), [((("device", "m"),), 60, 10**18, {"x_mean": 1.0})])
    status = follow(Blocks([old]), where, tmp_path)
    database.close()
    assert (status["quarantined"], status["state"]) == (0, "following")


@pytest.mark.parametrize(
    ("first", "seen"), [(503, "HTTP 503"), (429, "HTTP 429"), (401, "HTTP 401"), (404, "HTTP 404")]
)
@pytest.mark.parametrize("api", ["v1", "v2"])
def test_refusals_are_shown_and_waited_out(
    first: int, seen: str, api: str, tmp_path: Path, running: Callable[[Follower], Follower]
) -> None:
    with Refusing(first) as server:
        source = Blocks([meter_block(minute) for minute in range(3)])
        target = InfluxTarget(settings(server, DATABASE, api), tmp_path)
        follower = running(Follower(source, target, backoff=Backoff(0.02, 0.1)))
        until(lambda: str(follower.status()["error"]).startswith(seen))
        assert follower.status()["state"] == "waiting"
        assert follower.status()["block"] == 0
        server.allow()
        until(lambda: follower.status()["behind_blocks"] == 0)
    assert sum(body.count(b"energy,") for body in server.bodies) == 12


def test_a_slow_database_is_given_up_after_the_time_out(
    tmp_path: Path, running: Callable[[Follower], Follower]
) -> None:
    with Refusing(0) as server:
        target = InfluxTarget(settings(server, DATABASE), tmp_path, timeout_s=0.1)
        follower = running(Follower(Blocks([meter_block(1)]), target, backoff=Backoff(0.02, 0.1)))
        until(lambda: "timed out" in str(follower.status()["error"]))
        server.allow()
        until(lambda: follower.status()["behind_blocks"] == 0)


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_a_user_who_may_only_write_is_enough(api: str, tmp_path: Path) -> None:
    source = Blocks([meter_block(minute) for minute in range(3)])
    with Refusing(204, query_status=403) as server:
        server.allow()
        for _ in range(2):
            assert follow(source, settings(server, DATABASE, api), tmp_path)["state"] == "following"
    assert sum(body.count(b"energy,") for body in server.bodies) == 12


def test_a_token_is_sent_as_the_api_wants_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("user:secret\n")
    with Refusing(204) as server:
        server.allow()
        for api, sent in (("v1", "Basic dXNlcjpzZWNyZXQ="), ("v2", "Token user:secret")):
            where = settings(server, DATABASE, api).model_copy(update={"token_file": tmp_path / "token"})
            follow(Blocks([meter_block(1)]), where, tmp_path / api)
            assert set(server.authorizations) == {sent}
            server.authorizations.clear()


def test_the_v2_path_fills_a_real_server(tmp_path: Path) -> None:
    source = Blocks([meter_block(minute) for minute in range(20)])
    with victoria(tmp_path / "vm") as server:
        status = follow(source, settings(server, DATABASE, "v2"), tmp_path)
        assert status["state"] == "following"
        until(lambda: exported(server, "energy_import_wh_increase") == 80)
        assert exported(server, "energy_active_power_w_mean") == 80


def exported(server: Server, name: str) -> int:
    urllib3.request("GET", f"{server.url}/internal/force_flush", retries=False)
    answer = urllib3.request("GET", f"{server.url}/api/v1/export", fields={"match[]": name}, retries=False)
    return sum(len(json.loads(line)["values"]) for line in answer.data.splitlines())


class Refusing(Server):
    """An HTTP server that answers one status (0 = nothing, in time) until it is told to allow."""

    def __init__(self, status: int, query_status: int = 200) -> None:
        self.authorizations: list[str | None] = []
        self.bodies: list[bytes] = []
        self._allowed = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.authorizations.append(self.headers["Authorization"])
                if not outer._allowed.is_set() and status == 0:
                    outer._allowed.wait(10)
                    return
                if self.path.startswith("/query"):
                    code, answer = query_status, b'{"results":[{}]}'
                elif outer._allowed.is_set():
                    code, answer = 204, b""
                    outer.bodies.append(body)
                else:
                    code, answer = status, b'{"error":"not now"}'
                self.send_response(code)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        super().__init__([], f"http://127.0.0.1:{self._http.server_port}", "/")

    def allow(self) -> None:
        self._allowed.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._allowed.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
