"""A running city, looked at: rates, backlog, lag and completeness, live on a terminal, as plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from edge.errors import StorageError
from pipelines.query.ledger import Totals, ledger, totals
from pipelines.query.select import Selection, Store
from wayside.stage import Stage

if TYPE_CHECKING:
    from rich.table import Table

LINE_EVERY_S = 2.0
"""Where nobody looks at a terminal, one line in so many seconds is enough."""
_TABLE_WIDTH = 64


@dataclass(frozen=True, slots=True)
class GatewaySight:
    """One gateway, as it says itself; `state` is `down` where it does not answer."""

    name: str
    state: str
    backlog: int
    polls_per_s: float


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen in one look."""

    t_s: float
    """Since the city began. [s, real]"""
    phase: str
    """The fault under way; empty if there is none."""
    gateways: tuple[GatewaySight, ...]
    samples_per_s: float
    """What the centre puts into windows. [1/s]"""
    lag_s: float | None
    """Age of the oldest record that the centre has not acknowledged. [s, event time]"""
    sums: Totals
    """Of the closed windows in the store."""


class Watcher:
    """Looks, and remembers the last look for the rates."""

    def __init__(self, stage: Stage) -> None:
        """See nothing yet."""
        self._stage = stage
        self._before: dict[str, tuple[float, float]] = {}

    def look(self, t_s: float, phase: str) -> Sight:
        """Ask everyone."""
        centre, gateways = self._stage.statuses()
        samples = None if centre is None else centre["reader"]["counters"].get("samples", 0)
        lags = [status["lag_s"] for status in gateways.values() if status and status["lag_s"] is not None]
        return Sight(
            t_s,
            phase,
            tuple(self._gateway(t_s, name, status) for name, status in gateways.items()),
            self._rate("centre", t_s, samples),
            max(lags, default=None),
            _sums(self._stage),
        )

    def _gateway(self, t_s: float, name: str, status: dict[str, Any] | None) -> GatewaySight:
        if status is None:
            self._before.pop(name, None)
            return GatewaySight(name, "down", 0, 0.0)
        committed = status["journal"]["committed"]
        state = str(status["uplink"].get("state", status["state"]))
        return GatewaySight(name, state, int(status["backlog"]), self._rate(name, t_s, committed))

    def _rate(self, name: str, t_s: float, count: float | None) -> float:
        if count is None:
            return 0.0
        before_s, before = self._before.get(name, (t_s, count))
        self._before[name] = (t_s, count)
        return max(0.0, (count - before) / (t_s - before_s)) if t_s > before_s else 0.0


class View(Protocol):
    """Where sights are shown."""

    def show(self, sight: Sight) -> None:
        """Show the newest sight."""

    def say(self, text: str) -> None:
        """Say what has just been done."""


@contextlib.contextmanager
def view() -> Iterator[View]:
    """Give a live table on stderr where that is a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console  # noqa: PLC0415 -- imported late
    from rich.live import Live  # noqa: PLC0415 -- same

    with Live(console=Console(stderr=True), refresh_per_second=4, transient=True) as live:
        yield _Table(live)


class _Lines:
    def __init__(self) -> None:
        self._next_s = 0.0

    def show(self, sight: Sight) -> None:
        if sight.t_s < self._next_s:
            return
        self._next_s = sight.t_s + LINE_EVERY_S
        gateways = " ".join(f"{g.name}:{g.state}/{g.backlog}" for g in sight.gateways)
        self.say(
            f"{sight.t_s:5.1f} s  {sight.samples_per_s:7.0f} samples/s  lag {_lag(sight)}  "
            f"{_complete(sight)}  backlog {gateways}"
        )

    def say(self, text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


class _Table:
    def __init__(self, live: Any) -> None:
        self._live = live

    def show(self, sight: Sight) -> None:
        self._live.update(_table(sight))

    def say(self, text: str) -> None:
        from rich.text import Text  # noqa: PLC0415 -- imported late

        self._live.console.print(Text(text))


def _table(sight: Sight) -> Table:
    from rich.table import Table  # noqa: PLC0415 -- imported late
    from rich.text import Text  # noqa: PLC0415 -- same

    caption = (
        f"{sight.t_s:.0f} s · {_phase(sight)} · {sight.samples_per_s:.0f} samples/s into windows\n"
        f"lag {_lag(sight)} · {_complete(sight)}"
    )
    table = Table(
        title="A small city", caption=caption, title_justify="left", caption_justify="left", min_width=_TABLE_WIDTH
    )
    for name in ("gateway", "state", "records/s", "backlog"):
        table.add_column(name, justify="right" if name in {"records/s", "backlog"} else "left")
    colours = {"down": "red", "delivering": "green"}
    for gateway in sight.gateways:
        state = Text(gateway.state, style=colours.get(gateway.state, "yellow"))
        table.add_row(gateway.name, state, f"{gateway.polls_per_s:.0f}", str(gateway.backlog))
    return table


def _phase(sight: Sight) -> str:
    """What is done to the city now, else what it is still busy with."""
    if sight.phase or all(gateway.state == "delivering" for gateway in sight.gateways):
        return sight.phase or "all well"
    return "catching up"


def _lag(sight: Sight) -> str:
    return "unknown" if sight.lag_s is None else f"{sight.lag_s:.0f} s"


def _complete(sight: Sight) -> str:
    pct = sight.sums.completeness_pct
    return "no window closed yet" if pct is None else f"{pct:.1f} % of {sight.sums.expected} polls complete"


def _sums(stage: Stage) -> Totals:
    if not stage.store.exists():
        return totals([])
    try:
        with Store(stage.store) as store:
            return totals(ledger(store, Selection()))
    except StorageError:
        return totals([])  # it is being made
