"""The page: one HTML file with its pictures inside, drawn from the embedded store and nothing else."""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Sequence
from pathlib import Path

from pipelines.query.ledger import LedgerRow, Totals, base_rows, ledger, totals
from pipelines.query.select import Row, Selection, Store
from pipelines.sinks.line import window_name
from wayside.drawing import REASON_COLOURS as _COLOURS
from wayside.drawing import Line, Mark, Panel, completeness_svg, lines_svg, natural, used_reasons

_MOST_POINTS = 1500
_MOST_PANELS = 12
_MOST_LINES = 16

_STYLE = """
:root { --ink: #1c2128; --soft: #5b6470; --grid: #d9dee5; --page: #f5f6f8; --card: #ffffff; color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --soft: #9aa4b2; --grid: #363d47; --page: #14171c; --card: #1c2128; } }
body { background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; margin: 0; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 2px; } h2 { font-size: 18px; margin: 0; }
p { color: var(--soft); margin: 2px 0 12px; }
section { background: var(--card); border: 1px solid var(--grid); border-radius: 10px; margin: 18px 0;
  padding: 16px 18px; }
.facts { display: flex; flex-wrap: wrap; gap: 6px 36px; margin: 14px 0 0; }
.facts b { display: block; font-size: 24px; font-weight: 600; font-variant-numeric: tabular-nums; }
.facts span, .legend { color: var(--soft); font-size: 13px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin-bottom: 6px; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px; }
svg { display: block; width: 100%; height: auto; } svg text { font-family: inherit !important; }
.strip path, .strip use { shape-rendering: crispEdges; }
"""


def draw(
    store: Path, out: Path, *, title: str = "A city, by Wayside", note: str = "", marks: Sequence[Mark] = ()
) -> Path:
    """Draw the page of everything in a store and give its path; `marks` are shaded in every picture.

    Raises:
        StorageError: there is no store.
    """
    with Store(store) as opened:
        volumes = volume_panels(_fine(opened, "traffic"))
        power = power_lines(_fine(opened, "energy"))
        windows = ledger(opened, Selection())
    sections = [_facts(title, " ".join([note, *map(_shaded, marks)]), windows)]
    if volumes:
        sections.append(_volumes(volumes, marks))
    if power.lines:
        sections.append(_power(power, marks))
    if windows:
        sections.append(_completeness(windows, marks))
    else:
        sections.append(_section("Nothing yet", "The store holds no finished window.", ""))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(_page(title, "\n".join(sections)), encoding="utf-8")
    return out


def volume_panels(rows: list[Row]) -> list[Panel]:
    """Make a panel for each counter, with a line for each lane."""
    panels: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    window = window_name(rows[0].window_s) if rows else ""
    for row in rows:
        volume = _volume(row)
        if volume is not None:
            place = (row.tags.get("site", ""), row.tags.get("device", ""))
            lane = _part(row.tags)
            panels.setdefault(place, {}).setdefault(lane, {})[row.t_ns] = volume
    step_ns = rows[0].window_s * 10**9 if rows else 0
    return [
        Panel(
            f"{site} · {device}",
            window,
            [Line(lane, points, step_ns) for lane, points in sorted(lanes.items(), key=_first)],
        )
        for (site, device), lanes in sorted(panels.items(), key=_first)
    ]


def power_lines(rows: list[Row]) -> Panel:
    """Make one line for each meter: its total where it has one, else the sum of its phases. [kW]."""
    total: dict[str, dict[int, float]] = {}
    phases: dict[str, dict[int, float]] = {}
    for row in rows:
        watts = row.fields.get("active_power_w_mean")
        if watts is None:
            continue
        meter = f"{row.tags.get('site', '')} · {row.tags.get('device', '')}"
        points = (phases if "phase" in row.tags else total).setdefault(meter, {})
        points[row.t_ns] = points.get(row.t_ns, 0.0) + watts / 1000.0
    chosen = phases | total
    window_s = rows[0].window_s if rows else 60
    lines = [Line(meter, points, window_s * 10**9) for meter, points in sorted(chosen.items(), key=_first)]
    return Panel("", window_name(window_s), lines)


def _first(item: tuple[str | tuple[str, ...], object]) -> list[list[tuple[str, int]]]:
    return natural(item[0])


def _fine(store: Store, measurement: str) -> list[Row]:
    """Rows of the shortest window length that can still be drawn point by point."""
    found: list[Row] = []
    for window_s in store.windows(measurement):
        found = store.rows(Selection(measurement, window_s=window_s))
        if len({row.t_ns for row in found}) <= _MOST_POINTS:
            return found
    return found


def _volume(row: Row) -> float | None:
    """The volume of a window's intervals, else what a lifetime count grew by; None where an interval is missing."""
    fields = row.fields
    for name in fields:
        if name.startswith("volume") and name.endswith("_n"):
            stem = name.removesuffix("_n")
            return None if fields.get(f"{stem}_missed") else _float(fields.get(f"{stem}_sum"))
    return next((float(value) for name, value in fields.items() if name.endswith("_increase")), None)


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _part(tags: dict[str, str]) -> str:
    parts = [f"{name} {value}" for name, value in sorted(tags.items(), reverse=True) if name not in {"site", "device"}]
    return ", ".join(parts) or "all"


def _facts(title: str, note: str, windows: list[LedgerRow]) -> str:
    sums = totals(windows)
    base = base_rows(windows)
    devices = {(row.site, row.device) for row in windows}
    facts = [
        (str(len({row.site for row in windows})), "sites"),
        (str(len(devices)), "devices"),
        (f"{len(base):,}", "windows"),
        (f"{sums.expected:,}", "polls expected"),
        (f"{sums.arrived:,}", "arrived"),
        (_pct(sums), "complete"),
    ]
    boxes = "".join(f"<div><b>{number}</b><span>{html.escape(name)}</span></div>" for number, name in facts)
    note_text = f"<p>{html.escape(note)}</p>" if note else ""
    return f'<header><h1>{html.escape(title)}</h1>{note_text}<div class="facts">{boxes}</div></header>'


def _pct(sums: Totals) -> str:
    """Never round up to 100: a single missing poll must show."""
    pct = sums.completeness_pct
    return "-" if pct is None else f"{min(pct, 99.99) if sums.arrived < sums.expected else pct:.2f} %"


def _volumes(panels: list[Panel], marks: Sequence[Mark]) -> str:
    shown = panels[:_MOST_PANELS]
    rest = f" The first {len(shown)} of {len(panels)} counters." if len(shown) < len(panels) else ""
    each = f"Vehicles in each window of {_said(shown[0].window)}, by lane."
    text = f"{each} A gap is a window with a missing interval, never a zero.{rest}"
    return _section("Volumes", text, lines_svg(shown, "Volumes [vehicles]", marks))


def _power(panel: Panel, marks: Sequence[Mark]) -> str:
    shown = Panel(panel.title, panel.window, panel.lines[:_MOST_LINES])
    rest = f" The first {len(shown.lines)} of {len(panel.lines)} meters." if shown.lines != panel.lines else ""
    text = f"Mean over each window of {_said(panel.window)}. A gap is a window without a sample, never a zero.{rest}"
    return _section("Active power", text, lines_svg([shown], "Active power [kW]", marks))


def _shaded(mark: Mark) -> str:
    begin, end = (dt.datetime.fromtimestamp(t_ns // 10**9, dt.UTC) for t_ns in (mark.from_ns, mark.to_ns))
    return f"Shaded, {begin:%H:%M:%S} to {end:%H:%M:%S}: {mark.label}."


def _said(window: str) -> str:
    return window.replace("m", " min").replace("s", " s")


def _completeness(windows: list[LedgerRow], marks: Sequence[Mark]) -> str:
    reasons = used_reasons(windows)
    boxes = "".join(
        f'<span><i style="background:{_COLOURS.get(reason, _COLOURS["other"])}"></i>{reason.replace("_", " ")}</span>'
        for reason in ["arrived", *reasons]
    )
    text = "Each row is a group of points of a device. A full green bar: every poll arrived. Other colours: why not."
    legend = f'<div class="legend">{boxes}</div>'
    return _section("Completeness", text, f'{legend}<div class="strip">{completeness_svg(windows, marks)}</div>')


def _section(heading: str, text: str, body: str) -> str:
    return f"<section><h2>{html.escape(heading)}</h2><p>{html.escape(text)}</p>{body}</section>"


def _page(title: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{_STYLE}</style></head>
<body><main>
{body}
</main></body></html>
"""
