"""Figures as SVG text for a page that is light or dark: ink and grid are the page's own colours."""

from __future__ import annotations

import datetime as dt
import io
import math
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.query.ledger import LedgerRow, base_rows

_HOMELESS = "MPLCONFIGDIR" not in os.environ
# At its import matplotlib writes a list of fonts below the home folder, a tenth of a second's work: not worth a trace.
with tempfile.TemporaryDirectory(prefix="wayside-") as _place:
    if _HOMELESS:
        os.environ["MPLCONFIGDIR"] = _place
    import matplotlib as mpl
    from matplotlib.collections import PatchCollection
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
if _HOMELESS:
    del os.environ["MPLCONFIGDIR"]

_INK, _GRID = "#010203", "#010204"
"""Stand-ins that matplotlib writes, and that become the page's colours."""
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _GRID,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _GRID,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
    "svg.hashsalt": "wayside",
}
_LINES = ("#2f7fd6", "#d9722e", "#2f9e6e", "#b659c9", "#b8931a", "#d64e72", "#3f9fb3", "#8a8f98")
"""Each at least 3:1 against white and against the dark card."""
_WIDTH_IN = 10.4
_COLUMNS = 240
_MARKED = 90
_DAY_NS = 86400 * 10**9

REASON_COLOURS = {
    "arrived": "#2f9e6e",
    "timeout": "#d9722e",
    "exception": "#b659c9",
    "bad_frame": "#d64e72",
    "bus_down": "#c23b3b",
    "stretched": "#b8931a",
    "refused": "#8c6a4f",
    "evicted": "#7d2f6b",
    "centre_restored": "#2f7fd6",
    "undatable": "#3f9fb3",
    "gateway_off": "#7d8794",
    "unrecorded": "#545c68",
    "other": "#a0a6ae",
}
"""What a bar's parts say; `other` is a reason that this list does not know."""
_SHADE = "#7a5cc2"


@dataclass(frozen=True, slots=True)
class Line:
    """Points of one line, by time; a gap of more than a window breaks it."""

    name: str
    points: dict[int, float]
    step_ns: int

    def broken(self) -> tuple[list[float], list[float]]:
        """Give days and values, with NaN where windows are absent."""
        days: list[float] = []
        values: list[float] = []
        last: int | None = None
        for t_ns, value in sorted(self.points.items()):
            if last is not None and t_ns - last > self.step_ns:
                days.append(_day(last + self.step_ns))
                values.append(math.nan)
            days.append(_day(t_ns))
            values.append(value)
            last = t_ns
        return days, values


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes."""

    title: str
    window: str
    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mark:
    """A span of time that is shaded behind every picture. [ns since 1970, UTC]."""

    label: str
    from_ns: int
    to_ns: int


def lines_svg(panels: Sequence[Panel], label: str, marks: Sequence[Mark] = ()) -> str:
    """Draw panels one under another over one axis of time."""
    height = 3.6 if len(panels) == 1 else 1.75 * len(panels) + 0.4
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(_WIDTH_IN, height), layout="constrained")
        axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axis, panel in zip(axes, panels, strict=True):
            _draw_panel(axis, panel)
            _shade(axis, marks)
        figure.supylabel(label, fontsize=9.5)
        _date_axis(axes[-1])
        return _svg(figure, label)


def completeness_svg(windows: Iterable[LedgerRow], marks: Sequence[Mark] = ()) -> str:
    """Draw a strip for each group: what arrived from below, reasons for missing above it."""
    rows = base_rows(windows)
    names = sorted({(row.site, row.device, row.group) for row in rows}, key=natural)
    begin = min(row.t_ns for row in rows)
    end = max(row.t_ns + row.window_s * 10**9 for row in rows)
    bin_ns = _bin_ns(end - begin, min(row.window_s for row in rows) * 10**9)
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(_WIDTH_IN, 0.32 * len(names) + 0.75), layout="constrained")
        axis = figure.subplots()
        for number, name in enumerate(names):
            cells = _cells([row for row in rows if (row.site, row.device, row.group) == name], begin, bin_ns)
            _draw_strip(axis, number, cells)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.set_xlim(_day(begin), _day(end))
        axis.set_yticks(range(len(names)), [f"{site} · {device} · {group}" for site, device, group in names])
        axis.tick_params(axis="y", length=0)
        axis.grid(visible=False)
        axis.spines["left"].set_visible(False)
        _shade(axis, marks)
        _date_axis(axis)
        return _svg(figure, "Completeness of each group of points over time")


def natural(name: str | tuple[str, ...]) -> list[list[tuple[str, int]]]:
    """Sort key under which meter-2 stands before meter-10."""
    parts = (name,) if isinstance(name, str) else name
    return [[(text, int(run or -1)) for text, run in re.findall(r"(\D*)(\d*)", part)] for part in parts]


def used_reasons(windows: Iterable[LedgerRow]) -> list[str]:
    """Name the reasons for missing that occur, the most frequent first."""
    seen: Counter[str] = Counter()
    for row in base_rows(windows):
        seen.update(row.missing)
    return [reason for reason, _ in seen.most_common()]


@dataclass(slots=True)
class _Cell:
    """Sums of the windows that begin in one bin."""

    begin_ns: int
    end_ns: int
    expected: int = 0
    arrived: int = 0
    missing: Counter[str] = field(default_factory=Counter)

    def shares(self) -> tuple[tuple[str, float], ...]:
        """Divide the bar: what arrived, then each reason."""
        parts = [("arrived", self.arrived), *sorted(self.missing.items())]
        whole = max(self.expected, sum(count for _, count in parts)) or 1
        return tuple((name, count / whole) for name, count in parts if count)


def _draw_panel(axis: Any, panel: Panel) -> None:
    for number, line in enumerate(panel.lines):
        days, values = line.broken()
        cycle, colour = divmod(number, len(_LINES))
        axis.plot(
            days,
            values,
            color=_LINES[colour],
            linestyle=("-", "--")[cycle % 2],
            linewidth=1.4,
            marker="o" if len(days) <= _MARKED else None,  # a lone window between two gaps has no line
            markersize=2.6,
            label=line.name,
        )
    axis.margins(x=0.005)
    axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
    if panel.title:
        axis.set_title(panel.title, loc="left", fontsize=9.5)
    if panel.lines:
        beside = len(panel.lines) <= 8
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), fontsize=8.5, ncols=1 if beside else 2)


def _shade(axis: Any, marks: Sequence[Mark]) -> None:
    for mark in marks:
        axis.axvspan(_day(mark.from_ns), _day(mark.to_ns), color=_SHADE, alpha=0.16, linewidth=0)


def _draw_strip(axis: Any, number: int, cells: list[_Cell]) -> None:
    """Neighbouring cells of equal shares become one rectangle; a day has thousands otherwise."""
    boxes: dict[str, list[Rectangle]] = {}
    for first, last in _runs(cells):
        bottom = number + 0.4
        for name, share in first.shares():
            height = 0.8 * share
            corner = (_day(first.begin_ns), bottom - height)
            boxes.setdefault(name, []).append(Rectangle(corner, _day(last.end_ns) - corner[0], height))
            bottom -= height
    for name, rectangles in boxes.items():
        colour = REASON_COLOURS.get(name, REASON_COLOURS["other"])
        axis.add_collection(PatchCollection(rectangles, facecolor=colour, edgecolor="none", linewidth=0))


def _cells(rows: list[LedgerRow], begin: int, bin_ns: int) -> list[_Cell]:
    cells: dict[int, _Cell] = {}
    for row in rows:
        number = (row.t_ns - begin) // bin_ns
        start = begin + number * bin_ns
        cell = cells.setdefault(number, _Cell(start, max(start + bin_ns, row.t_ns + row.window_s * 10**9)))
        cell.expected += row.expected
        cell.arrived += row.arrived
        cell.missing.update(row.missing)
    return [cells[number] for number in sorted(cells)]


def _runs(cells: list[_Cell]) -> list[tuple[_Cell, _Cell]]:
    runs: list[tuple[_Cell, _Cell]] = []
    for cell in cells:
        if runs and runs[-1][1].end_ns == cell.begin_ns and runs[-1][0].shares() == cell.shares():
            runs[-1] = (runs[-1][0], cell)
        else:
            runs.append((cell, cell))
    return runs


def _bin_ns(span_ns: int, window_ns: int) -> int:
    """Whole windows, no more bins than can be told apart."""
    return max(1, math.ceil(span_ns / window_ns / _COLUMNS)) * window_ns


def _date_axis(axis: Any) -> None:
    locator = AutoDateLocator(tz=dt.UTC, minticks=4, maxticks=10)  # type: ignore[no-untyped-call] # matplotlib has no type here
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=dt.UTC))  # type: ignore[no-untyped-call] # same
    axis.set_xlabel("time [UTC]", fontsize=9.5)


def _day(t_ns: int) -> float:
    """Matplotlib's dates are days since 1970."""
    return t_ns / _DAY_NS


def _svg(figure: Figure, label: str) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "var(--ink)").replace(_GRID, "var(--grid)")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
