"""Sender and acceptor under random schedules of faults: nothing lost, nothing twice, nothing stuck, every gap named."""

from __future__ import annotations

from uuid import UUID

import pytest

from edge.delivery.acceptor import Acceptor
from tests.edge.delivery.model import Card, Gateway, Identity, World

SCHEDULES = 3000
FAULTS = (
    "append", "append", "append", "restart_gateway", "reconnect", "restart_centre", "restore_card", "restore_centre",
    "new_centre", "full_journal", "network", "stop_centre", "copy_card", "copy_centre", "clone", "pass",
)  # fmt: skip


class Schedule:
    """One seeded run."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.rng = self.world.rng
        self.gateways = [Gateway(self.world, "g0", Card(UUID(int=self.rng.getrandbits(128))))]
        self.cards: list[Card] = []
        self.centres = [self.world.centre.snapshot()]
        self.gone: set[Identity] = set()
        """Records on a card that was replaced: only an earlier delivery could have saved them."""
        self.kinds = self.rng.sample(FAULTS, self.rng.randint(3, len(FAULTS)))

    def run(self) -> None:
        for _ in range(self.rng.randint(10, 40)):
            getattr(self, "do_" + self.rng.choice(self.kinds))()
            self.world.run_until(self.world.now + self.rng.uniform(0.0, 4.0), self.gateways)
        self.settle()

    def settle(self) -> None:
        self.world.faulty = False
        self.world.loss = self.world.repeat = self.world.disorder = 0.0
        self.world.centre.up = True
        for gateway in self.gateways:
            if not gateway.up:
                gateway.start()
            # A gateway that polls always has a next record; it is what tells a restored centre of the older ones.
            gateway.append(1)
        self.world.run_until(self.world.now + 400.0, self.gateways)

    def do_pass(self) -> None:
        pass

    def do_append(self) -> None:
        for gateway in self.gateways:
            if gateway.up:
                gateway.append(self.rng.randint(1, 60))

    def do_restart_gateway(self) -> None:
        gateway = self.rng.choice(self.gateways)
        gateway.stop() if gateway.up else gateway.start()

    def do_reconnect(self) -> None:
        gateway = self.rng.choice(self.gateways)
        if gateway.up:
            gateway.sender.disconnected()
            gateway.connect()

    def do_restart_centre(self) -> None:
        # The log is durable and acceptance a function of it: a restart loses nothing, but is a new session.
        centre = self.world.centre
        centre.acceptor = Acceptor.restore(centre.acceptor.snapshot())
        centre.begin_session()

    def do_stop_centre(self) -> None:
        self.world.centre.up = not self.world.centre.up

    def do_copy_centre(self) -> None:
        self.centres.append(self.world.centre.snapshot())

    def do_restore_centre(self) -> None:
        self.world.centre.restore(self.rng.choice(self.centres))

    def do_new_centre(self) -> None:
        self.world.centre.restore(self.centres[0])

    def do_copy_card(self) -> None:
        self.cards.append(self.rng.choice(self.gateways).card.copy())

    def do_restore_card(self) -> None:
        gateway = self.rng.choice(self.gateways)
        mine = [card for card in self.cards if card.journal == gateway.card.journal]
        if mine:
            gateway.stop()
            self.gone |= held(gateway.card, 0)  # its tombstones are lost with it
            gateway.card = self.rng.choice(mine).copy()
            gateway.start()

    def do_clone(self) -> None:
        if len(self.gateways) < 3:
            self.gateways.append(Gateway(self.world, f"g{len(self.gateways)}", self.gateways[0].card.copy()))

    def do_full_journal(self) -> None:
        self.rng.choice(self.gateways).capacity = self.rng.choice((32, 64, 10_000))

    def do_network(self) -> None:
        self.world.loss, self.world.repeat, self.world.disorder = (
            self.rng.choice((0.0, 0.0, 0.1, 0.5)) for _ in range(3)
        )


def held(card: Card, start: int | None = None) -> set[Identity]:
    """Every identity on the card, from `start` (default: the oldest held)."""
    first = card.oldest if start is None else start
    return {(card.journal, card.epoch_at(o)[0].epoch, o) for o in range(first, card.next)}


def check(run: Schedule) -> None:
    """Compare what the centre has and names with what was ever committed."""
    centre = run.world.centre
    for gateway in run.gateways:
        assert gateway.sender.position == gateway.card.next, "stuck"
        assert not gateway.sender.in_flight_bytes
    on_cards = set().union(*(held(gateway.card) for gateway in run.gateways))
    for identity in run.world.committed - centre.taken:
        journal, epoch, offset = identity
        named = any(
            j.journal == journal and j.epoch in {epoch, None} and j.start <= offset < j.end for j in centre.jumps
        )
        assert named or (identity in run.gone and identity not in on_cards), f"lost without a word: {identity}"
    for journal, epoch, offset in centre.taken:
        assert offset < centre.acceptor.positions(journal)[epoch]
    assert centre.taken <= run.world.committed


@pytest.mark.parametrize("block", range(10))
def test_no_schedule_of_faults_loses_repeats_or_sticks(block: int) -> None:
    for seed in range(block * SCHEDULES // 10, (block + 1) * SCHEDULES // 10):
        run = Schedule(seed)
        run.run()
        try:
            check(run)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


def test_without_faults_nothing_is_sent_twice_and_nothing_named() -> None:
    run = Schedule(1)
    for _ in range(50):
        run.do_append()
        run.world.run_until(run.world.now + 1.0, run.gateways)
    run.settle()
    check(run)
    assert run.world.centre.taken == run.world.committed
    assert not run.world.centre.jumps


def test_a_lossy_link_costs_few_messages_more() -> None:
    def messages(loss: float) -> int:
        run = Schedule(7)
        run.world.faulty, run.world.loss = False, loss
        for _ in range(200):
            run.do_append()
            run.world.run_until(run.world.now + 1.0, run.gateways)
        run.settle()
        check(run)
        return run.world.messages

    assert messages(0.05) < 2.5 * messages(0.0)
