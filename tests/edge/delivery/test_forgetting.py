"""What is remembered of a journal is bounded, and what was forgotten is neither taken again nor passed over unsaid."""

from __future__ import annotations

from uuid import UUID

import pytest

from edge.delivery.acceptor import EPOCHS, Acceptor, Decision, Jump, JumpReason, Verdict
from edge.sparkplug.body import NO_TABLE, Body

JOURNAL = UUID(int=1)
FOREVER = 20_000


def offer(acceptor: Acceptor, epoch: int, first: int, a: int, b: int, previous: int | None) -> Verdict:
    body = Body(JOURNAL, epoch, first, a, b, 0, 0, previous, 0, 0, 1, NO_TABLE, tuple(range(a, b)))
    return acceptor.offer(body, b"")


def opened(acceptor: Acceptor, openings: int) -> Acceptor:
    """A journal that is opened again and again, with ten records each time; epochs count from 1."""
    for n in range(openings):
        verdict = offer(acceptor, n + 1, n * 10, n * 10, n * 10 + 10, n or None)
        assert (verdict.decision, verdict.jumps, verdict.fork) == (Decision.TAKEN, (), False)
    return acceptor


def test_the_state_of_a_journal_that_is_opened_for_ever_is_bounded() -> None:
    acceptor = opened(Acceptor(), FOREVER)
    assert len(acceptor.positions(JOURNAL)) == EPOCHS
    assert len(acceptor.snapshot()) < 16 * EPOCHS


def test_a_branch_whose_early_epochs_are_forgotten_is_whole() -> None:
    acceptor = opened(Acceptor(4), 20)
    lineage = [(n + 1, n * 10) for n in range(21)]
    assert acceptor.stated(JOURNAL, lineage) == {n + 1: n * 10 + 10 for n in range(20)}, "the 21st is unknown"


def test_without_forgetting_only_what_is_known_is_stated() -> None:
    acceptor = opened(Acceptor(), 3)
    assert acceptor.stated(JOURNAL, [(99, 0), (2, 10), (3, 20), (98, 30)]) == {2: 20, 3: 30}


def test_a_forgotten_epoch_is_not_taken_twice() -> None:
    acceptor = opened(Acceptor(4), 20)
    verdict = offer(acceptor, 1, 0, 0, 10, None)
    assert verdict.decision is Decision.DUPLICATE
    assert verdict.jumps == (Jump(JOURNAL, 1, 0, 160, JumpReason.CENTRE_RESTORED),)


def test_an_old_copy_is_a_fork_and_goes_on_beyond_what_was_forgotten() -> None:
    acceptor = opened(Acceptor(4), 20)
    offer(acceptor, 1, 0, 0, 10, None)  # remembered again, in the place of one that reached 170
    verdict = offer(acceptor, 77, 10, 150, 180, 1)
    assert verdict.fork
    assert verdict.jumps == (Jump(JOURNAL, 77, 10, 170, JumpReason.CENTRE_RESTORED),)
    assert (verdict.decision, verdict.take_from) == (Decision.TAKEN, 170)


@pytest.mark.parametrize("at", [1, 3, 10, 19])
def test_a_restart_changes_nothing_of_what_is_forgotten_next(at: int) -> None:
    whole, stopped = opened(Acceptor(4), 20), opened(Acceptor(4), at)
    stopped = Acceptor.restore(stopped.snapshot(), 4)
    for n in range(at, 20):
        offer(stopped, n + 1, n * 10, n * 10, n * 10 + 10, n or None)
    assert stopped.snapshot() == whole.snapshot()
