"""The page: one file, nothing fetched, every part drawn from the store."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pipelines.query.select import Row
from pipelines.sinks.embedded import EmbeddedStore
from tests.pipelines.query.city import T0_NS, city
from wayside.drawing import Mark, natural
from wayside.pictures import draw, volume_panels


def test_the_page_stands_alone_and_shows_all_three_pictures(tmp_path: Path) -> None:
    page = draw(city(tmp_path / "store.db"), tmp_path / "out" / "page.html", title="A <city>", note="seed 7")
    text = page.read_text()
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', text) == []
    assert "A &lt;city&gt;" in text
    assert re.findall(r"<h2>(.*?)</h2>", text) == ["Volumes", "Active power", "Completeness"]
    pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    said = ["".join(ET.fromstring(svg.replace("xlink:href", "href")).itertext()) for svg in pictures]  # noqa: S314 -- ours
    assert "lane 1" in said[0]
    assert "Volumes [vehicles]" in said[0]
    assert "Active power [kW]" in said[1]
    assert "port · meter-2" in said[1]
    assert "port · meter-1 · fast" in said[2]
    assert "var(--ink)" in pictures[0]
    assert "98.67 %" in text


def test_reasons_for_missing_have_their_colour_in_legend_and_picture(tmp_path: Path) -> None:
    text = draw(city(tmp_path / "store.db"), tmp_path / "page.html").read_text()
    for name, colour in (("timeout", "#d9722e"), ("bad frame", "#d64e72")):
        assert f'<i style="background:{colour}"></i>{name}' in text
        assert f"fill: {colour}" in text
    assert "gateway off" not in text


def test_a_lane_without_a_window_has_a_gap_not_a_zero(tmp_path: Path) -> None:
    text = draw(city(tmp_path / "store.db"), tmp_path / "page.html").read_text()
    volumes = re.findall(r"<svg.*?</svg>", text, re.DOTALL)[0]
    lane = next(path for path in re.findall(r'<path d="(M [^"]*)"[^>]*stroke: #2f7fd6', volumes) if path.count("L") > 1)
    assert lane.count("M ") == 2


def test_a_window_with_a_missing_interval_is_a_gap_and_never_another_fields_value() -> None:
    tags = {"site": "ring", "device": "counter", "lane": "1"}
    fields: list[dict[str, float | int]] = [
        {"volume_n": 2, "volume_missed": 0, "volume_sum": 9, "vehicles_increase": 8},
        {"volume_n": 1, "volume_missed": 1, "volume_sum": 4, "vehicles_increase": 8},
        {"volume_n": 0, "volume_missed": 2, "vehicles_increase": 0},
        {"volume_n": 2, "volume_missed": 0, "volume_sum": 0, "vehicles_increase": 1},
    ]
    (panel,) = volume_panels([Row("traffic", tags, 60, k, each) for k, each in enumerate(fields)])
    assert panel.lines[0].points == {0: 9.0, 3: 0.0}


def test_what_was_done_to_a_city_is_shaded_and_said(tmp_path: Path) -> None:
    store = city(tmp_path / "store.db")
    mark = Mark("broker killed (mosquitto)", T0_NS, T0_NS + 90 * 10**9)
    plain = draw(store, tmp_path / "plain.html").read_text()
    text = draw(store, tmp_path / "page.html", marks=[mark]).read_text()
    assert "Shaded, 14:15:00 to 14:16:30: broker killed (mosquitto)." in text
    assert (plain.count("#7a5cc2"), text.count("#7a5cc2")) == (0, 3)


def test_an_empty_store_says_so(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store.db")
    store.cursor()
    store.close()
    assert "Nothing yet" in draw(tmp_path / "store.db", tmp_path / "page.html").read_text()


def test_the_same_store_gives_the_same_page(tmp_path: Path) -> None:
    store = city(tmp_path / "store.db")
    assert draw(store, tmp_path / "a.html").read_bytes() == draw(store, tmp_path / "b.html").read_bytes()


HOMELESS = """
import sys
from pathlib import Path
from wayside.pictures import draw
draw(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("named", [False, True], ids=["fresh home", "a folder named by the user"])
def test_drawing_leaves_nothing_behind(named: bool, tmp_path: Path) -> None:
    store = city(tmp_path / "store.db")
    places = {name: tmp_path / name for name in ("HOME", "TMPDIR", "MPLCONFIGDIR")}
    for place in places.values():
        place.mkdir()
    given = {name: str(place) for name, place in places.items() if named or name != "MPLCONFIGDIR"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "MPL"))} | given
    command = [sys.executable, "-c", HOMELESS, str(store), str(tmp_path / "page.html")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(places["HOME"].iterdir()) == []
    assert list(places["TMPDIR"].iterdir()) == []
    assert bool(list(places["MPLCONFIGDIR"].iterdir())) == named


def test_numbers_in_names_sort_as_numbers() -> None:
    names = [("ring", "meter-10"), ("ring", "meter-2"), ("port", "x"), ("ring", "10"), ("ring", "meter")]
    assert sorted(names, key=natural) == [
        ("port", "x"),
        ("ring", "10"),
        ("ring", "meter"),
        ("ring", "meter-2"),
        ("ring", "meter-10"),
    ]
