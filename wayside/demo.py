"""The demo: a small city on this machine, with faults, and a proof of the result that trusts no program's own counts.

The last line comes from the gateways' journals, the simulator's truth and the store's rows (`wayside/prove`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import click
import urllib3

from edge.errors import PeerUnreachable
from edge.runtime.clock import RealClock
from wayside.answer import Fault, answer
from wayside.cast import cast
from wayside.stage import Stage
from wayside.watch import View, Watcher, view

SCALE = 60
"""A minute of the city's time in a second."""
MINUTES = 0.4
_LOOK_S = 0.25
_REACH_S = 3.0
_BROKER_AT, _BROKER_FOR = 0.3, 0.15
_KILL_AT, _KILL_FOR_S = 0.6, 1.0
"""When the faults come, as shares of the run, and how long they last."""
_MOST_AWAY_S = 20.0


@dataclass(slots=True)
class Show:
    """One run of the demo."""

    stage: Stage
    clock: RealClock
    real_s: float
    out: View
    faults: list[Fault] = field(default_factory=list)
    began_s: float = 0.0

    @property
    def t_s(self) -> float:
        """Real time since the city began."""
        return self.clock.real_s() - self.began_s

    def play(self) -> None:
        """Let the city run, and do to it what is planned."""
        self.began_s = self.clock.real_s()
        watcher = Watcher(self.stage)
        away_s = min(_MOST_AWAY_S, _BROKER_FOR * self.real_s)
        victim = min(self.stage.gateways)
        plan: list[tuple[float, Callable[[], None]]] = [
            (_BROKER_AT * self.real_s, lambda: self._take_broker(away_s)),
            (_BROKER_AT * self.real_s + away_s, self._give_broker),
            (_KILL_AT * self.real_s, lambda: self._kill(victim)),
            (_KILL_AT * self.real_s + _KILL_FOR_S, self.stage.gateways[victim].start),
        ]
        while self.t_s < self.real_s or plan or self._is_away(victim):
            while plan and self.t_s >= plan[0][0]:
                plan.pop(0)[1]()
            if not plan and self._is_away(victim):
                self._greet(victim)
            self.out.show(watcher.look(self.t_s, self._phase()))
            time.sleep(_LOOK_S)

    def _phase(self) -> str:
        return next((fault.kind.replace("_", " ") for fault in self.faults if not fault.to_ns), "")

    def _take_broker(self, away_s: float) -> None:
        self.out.say(f"{self.t_s:5.1f} s  taking the broker away for {away_s:.0f} s: gateways keep what they read")
        self._begin("broker_killed", self.stage.broker.kind, tuple(self.stage.gateways))
        self.stage.broker.child.kill()

    def _give_broker(self) -> None:
        self.stage.broker.start()
        self._end()
        self.out.say(f"{self.t_s:5.1f} s  the broker is back, empty")

    def _kill(self, name: str) -> None:
        self.out.say(f"{self.t_s:5.1f} s  killing {name} with SIGKILL")
        self._begin("gateway_killed", name, (name,))
        self.stage.gateways[name].kill()

    def _greet(self, name: str) -> None:
        gateway = self.stage.gateways[name]
        if gateway.is_ready:
            self._end()
            self.out.say(f"{self.t_s:5.1f} s  {name} runs again on its journal")
        elif not gateway.is_running:
            gateway.await_ready(_LOOK_S)  # which tells why

    def _is_away(self, name: str) -> bool:
        return any(fault.target == name and not fault.to_ns for fault in self.faults)

    def _begin(self, kind: str, target: str, gateways: tuple[str, ...]) -> None:
        self.faults.append(Fault(kind, target, gateways, self.t_s, self.clock.wall_ns()))

    def _end(self) -> None:
        self.faults[-1].to_s, self.faults[-1].to_ns = self.t_s, self.clock.wall_ns()


def _reach(influx: str) -> None:
    """See that there is a database before a city is started for it.

    Raises:
        PeerUnreachable: there is none.
    """
    if not influx.startswith(("http://", "https://")):
        raise click.BadParameter("write http://HOST:PORT", param_hint="--influx")
    try:
        urllib3.request("GET", f"{influx.rstrip('/')}/ping", retries=False, timeout=_REACH_S)
    except urllib3.exceptions.HTTPError as error:
        raise PeerUnreachable(influx, f"no database answers there ({error})") from error


def run(*, seed: int, minutes: float | None, directory: Path, influx: str | None, as_json: bool) -> bool:
    """Run the demo and tell the result; True if everything agrees.

    Raises:
        WaysideError: it could not be run.
    """
    if influx:
        _reach(influx)
    origin_s = RealClock().wall_ns() // 10**9
    stage = Stage(directory.absolute(), cast(seed), SCALE, origin_s, influx)
    with view() as out, stage:
        out.say(
            f"starting {len(stage.cast.devices)} devices, {len(stage.gateways)} gateways, a centre and a broker "
            f"({stage.broker.kind}); {SCALE} s of their time pass in one of ours"
        )
        stage.start()
        show = Show(stage, RealClock(SCALE, origin_s), 60 * (minutes or MINUTES), out)
        show.play()
        out.say("stopping the gateways; what they have committed is delivered, and every window closed")
        stage.settle()
        out.say("comparing the journals, the simulator's truth and the stored rows")
    return answer(stage, show.faults, as_json=as_json)
