"""Options that several nouns share: which store, which span of time, which window and device."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wayside.commands._output import instant_ns
from wayside.commands._places import store_path

if TYPE_CHECKING:
    from pipelines.query.select import Selection

_MOST_NS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a store."""

    store: Path
    config: Path | None
    window: str | None
    site: str | None
    device: str | None
    begin: str | None
    end: str | None

    def selection(
        self, measurement: str | None, tags: dict[str, str] | None = None, fields: tuple[str, ...] = ()
    ) -> Selection:
        """Make the selection, reading times and the window's name.

        Raises:
            click.BadParameter: one of them can't be read.
        """
        from pipelines.query.select import Selection  # noqa: PLC0415 -- imported late

        named = {name: value for name, value in (("site", self.site), ("device", self.device)) if value}
        return Selection(measurement, {**(tags or {}), **named}, self._window_s(), *self.times_ns(), fields)

    def times_ns(self) -> tuple[int, int]:
        """Give the span's begin and end; without --from or --to it is open there. [ns]."""
        now_ns = _now_ns() if self.begin or self.end else 0
        begin_ns = instant_ns(self.begin, now_ns) if self.begin else 0
        return begin_ns, instant_ns(self.end, now_ns) if self.end else _MOST_NS

    def _window_s(self) -> int | None:
        from pipelines.sinks.line import window_seconds  # noqa: PLC0415 -- imported late

        if self.window is None:
            return None
        try:
            return window_seconds(self.window)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--window") from error


def span_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets them as one `span`."""
    options = (
        click.option("-c", "--config", type=click.Path(path_type=Path), help="central.toml: its store is read."),
        click.option("--store", type=click.Path(path_type=Path), help="A store.db, or the folder that holds one."),
        click.option("--window", help="Only this window length: 1m, 5m."),
        click.option("--site", help="Only this site."),
        click.option("--device", help="Only this device."),
        click.option(
            "--from", "begin", metavar="TIME", help="Windows that start at TIME or later; -2h, 2026-11-24T08:00."
        ),
        click.option("--to", "end", metavar="TIME", help="Windows that start before TIME."),
    )

    @functools.wraps(command)
    def with_span(
        *,
        config: Path | None,
        store: Path | None,
        window: str | None,
        site: str | None,
        device: str | None,
        begin: str | None,
        end: str | None,
        **rest: Any,
    ) -> Any:
        span = Span(store_path(config, store), config, window, site, device, begin, end)
        return command(span=span, **rest)

    for option in reversed(options):
        with_span = option(with_span)
    return with_span


def _now_ns() -> int:
    """Event time: in a scaled demo `-2h` means two of its hours."""
    from edge.runtime.clock import process_clock  # noqa: PLC0415 -- imported late

    return process_clock(["host"]).wall_ns()
