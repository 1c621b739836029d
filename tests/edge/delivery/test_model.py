"""Sender and acceptor under random schedules of faults: nothing lost, nothing twice, nothing stuck, every gap named."""

from __future__ import annotations

import random
from uuid import UUID

import pytest

from edge.delivery.acceptor import EPOCHS
from edge.delivery.acknowledge import Acknowledgement, epoch_key
from edge.delivery.sender import Send, Sender, Span
from tests.edge.delivery.model import Card, Gateway, Identity, World

SCHEDULES = 300
"""Of one block."""
FAULTS = (
    "append", "append", "append", "restart_gateway", "reconnect", "restart_centre", "restore_card", "restore_centre",
    "new_centre", "full_journal", "network", "stop_centre", "copy_card", "copy_centre", "clone", "pass",
)  # fmt: skip


class Schedule:
    """One seeded run."""

    def __init__(self, seed: int, epochs: int = EPOCHS) -> None:
        self.world = World(seed, epochs)
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
            if self.world.centre.epochs < EPOCHS:  # or its STATE, where a position was stated beyond that record
                gateway.sender.disconnected()
                gateway.connect()
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
        self.world.centre.restart()

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


def check(run: Schedule, *, forgetful: bool = False) -> None:
    """Compare what the centre has and names with what was ever committed.

    One that is `forgetful` may give up what an old copy alone holds, and says so.
    """
    centre = run.world.centre
    for gateway in run.gateways:
        assert gateway.sender.position == gateway.card.next or (
            forgetful and gateway.sender.position > gateway.card.next
        ), "stuck"
        assert not gateway.sender.in_flight_bytes
    on_cards = set().union(*(held(gateway.card) for gateway in run.gateways))
    for identity in run.world.committed - centre.taken:
        journal, epoch, offset = identity
        named = any(
            j.journal == journal and j.epoch in {epoch, None} and j.start <= offset < j.end for j in centre.jumps
        )
        # Of several copies of a journal, one that evicted a record speaks for all: named, though another holds it.
        assert forgetful or identity in run.world.evicted or identity not in on_cards, (
            f"given up, but still held: {identity}"
        )
        assert named or identity in run.gone, f"lost without a word: {identity}"
    for journal, epoch, offset in centre.taken:
        position = centre.acceptor.positions(journal).get(epoch)
        assert offset < position if position is not None else forgetful
    assert centre.taken <= run.world.committed


@pytest.mark.parametrize("block", [0, 1, *(pytest.param(n, marks=pytest.mark.proof) for n in range(2, 30))])
def test_no_schedule_of_faults_loses_repeats_or_sticks(block: int) -> None:
    for seed in range(block * SCHEDULES, (block + 1) * SCHEDULES):
        run = Schedule(seed)
        run.run()
        try:
            check(run)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("epochs", [1, 3, pytest.param(2, marks=pytest.mark.proof)])
@pytest.mark.parametrize("block", [0, *(pytest.param(n, marks=pytest.mark.proof) for n in range(1, 10))])
def test_a_centre_that_forgets_repeats_nothing_and_names_what_it_gives_up(block: int, epochs: int) -> None:
    forgetful = 0
    for seed in range(block * SCHEDULES, (block + 1) * SCHEDULES):
        run = Schedule(seed, epochs)
        run.run()
        forgetful += len({epoch for _, epoch, _ in run.world.centre.taken}) > epochs
        try:
            check(run, forgetful=True)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert forgetful > SCHEDULES // 5


def test_without_faults_nothing_is_sent_twice_and_nothing_named() -> None:
    run = Schedule(1)
    for _ in range(50):
        run.do_append()
        run.world.run_until(run.world.now + 1.0, run.gateways)
    run.settle()
    check(run)
    assert run.world.centre.taken == run.world.committed
    assert not run.world.centre.jumps


def drain(seed: int, records: int, loss: float, disorder: float) -> float:
    """Messages sent per message needed, for a backlog over a bad link."""
    run = Schedule(seed)
    run.world.faulty = False
    run.gateways[0].append(records)
    run.world.loss, run.world.disorder = loss, disorder
    run.world.run_until(3600.0, run.gateways)
    assert run.gateways[0].sender.position == run.gateways[0].card.next
    check(run)
    return run.world.messages / drained_messages(records)


def drained_messages(records: int) -> float:
    """What the same backlog takes on a good link."""
    run = Schedule(0)
    run.world.faulty = False
    run.gateways[0].append(records)
    run.world.run_until(3600.0, run.gateways)
    return run.world.messages


def test_one_loss_is_one_rewind_and_no_storm() -> None:
    ratios = sorted(drain(seed, 10_000, 0.02, 0.0) for seed in range(9))
    assert ratios[4] < 3.0  # about 1.9; a sender that heeds stale complaints has 20 to 60


def test_a_stated_position_ends_the_asking() -> None:
    sender = Sender(UUID(int=1), random.Random(0))
    sender.born(0.0)
    assert sender.next(0.1, 10, 0) is None
    lineage = [Span(5, 0)]
    assert sender.acknowledged(Acknowledgement("s", 1, UUID(int=1), {}, 9000), lineage, 0, 0.2)
    assert sender.deadline_s is None
    assert sender.next(0.3, 10, 0) == Send(0, 9000, sender.attempt)
    sender.sent(10, 500, 0.3)
    assert sender.next(0.4, 10, 0) is None
    assert not sender.acknowledged(Acknowledgement("s", 1, UUID(int=1), {epoch_key(5): 10}, 9000), lineage, 0, 0.5)
    assert sender.acknowledged(Acknowledgement("s", 2, UUID(int=1), {epoch_key(5): 10}, 9000), lineage, 0, 0.5)
    assert sender.position == 10
    assert sender.deadline_s is None


def test_no_grant_is_a_pause_that_one_batch_ends() -> None:
    sender = Sender(UUID(int=1), random.Random(0))
    sender.born(0.0)
    sender.acknowledged(Acknowledgement("s", 1, UUID(int=1), {}, 0), [Span(5, 0)], 0, 0.2)
    assert sender.next(0.3, 10, 0) is None
    deadline = sender.deadline_s
    assert deadline is not None
    assert isinstance(sender.next(deadline, 10, 0), Send)
