"""Which silent devices are asked again, and when: pure; real time is an argument.

A device that failed to answer `AFTER` polls in a row is *silent*: its polls are recorded without bus time, but for
probes. A probe is a poll like others, so that a device that returns is read in full by the very poll that finds it.
Pauses between its probes grow, with jitter, from one period to sixty, and at most to a minute. (In periods, because a
scaled event clock makes a minute of real time an hour of missing polls.) And as long as any other device of the bus
answers, all silent ones together get a tenth of the bus's time, however many they are; one that the others, polled more
often, have kept from its turn gets it in any case, which at worst doubles the share.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from edge.model.record import Outcome
from edge.runtime.supervisor import Backoff

AFTER = 3
MOST_PAUSE_S = 60.0
MOST_PAUSE_PERIODS = 60
SHARE = 0.1
"""Of the bus's time, for all silent devices together."""
_SILENCE = frozenset({Outcome.TIMEOUT, Outcome.BAD_FRAME})
"""What costs bus time and yields nothing; a device that sends rubbish is no better than one that is mute."""


@dataclass(slots=True)
class _Device:
    backoff: Backoff
    failures: int = 0
    last: Outcome = Outcome.OK
    again_s: float = 0.0
    """When the next probe may be, if the share of all allows it."""
    at_last_s: float = 0.0
    """When it may be in any case: others took the share for a whole round."""


@dataclass(slots=True)
class Silences:
    """The devices of one bus."""

    draw: random.Random = field(default_factory=random.Random)
    _devices: dict[str, _Device] = field(default_factory=dict)
    _probes_again_s: float = 0.0

    def add(self, device: str, period_s: float) -> None:
        """Know a device, and the period of its fastest group in real time, before it is ever asked."""
        most_s = max(period_s, min(MOST_PAUSE_S, MOST_PAUSE_PERIODS * period_s))
        self._devices[device] = _Device(Backoff(period_s, most_s, self.draw))

    def is_silent(self, device: str) -> bool:
        """Whether the device is only probed."""
        return self._devices[device].failures >= AFTER

    def passed_over(self, device: str, now_s: float) -> Outcome | None:
        """What to record of a poll now, instead of polling; None: poll."""
        state = self._devices[device]
        may_probe_s = min(state.at_last_s, max(state.again_s, self._probes_again_s))
        if not self.is_silent(device) or now_s >= may_probe_s:
            return None
        return state.last

    def polled(self, device: str, outcome: Outcome, began_s: float, ended_s: float) -> None:
        """Learn what a poll yielded and what it cost; `ended_s` is when the line was free again."""
        state = self._devices[device]
        if outcome not in _SILENCE:
            if outcome != Outcome.BUS_DOWN:  # which says nothing about the device
                state.failures = 0
                state.backoff.reset()
            return
        state.failures += 1
        state.last = outcome
        if self.is_silent(device):
            self._pause(state, ended_s - began_s, ended_s)

    def _pause(self, state: _Device, cost_s: float, now_s: float) -> None:
        state.again_s = state.at_last_s = now_s + state.backoff.pause_s()
        n_silent = sum(self.is_silent(device) for device in self._devices)
        if n_silent < len(self._devices):
            self._probes_again_s = now_s + cost_s * (1 / SHARE - 1)
            state.at_last_s += n_silent * cost_s / SHARE
