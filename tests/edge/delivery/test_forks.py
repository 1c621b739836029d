"""A new epoch at an offset that another one used is a fork, and is told; a restart is none."""

from __future__ import annotations

from uuid import UUID

from edge.delivery.acceptor import Acceptor, Decision, Verdict
from edge.sparkplug.body import NO_TABLE, Body

JOURNAL = UUID(int=1)


def offer(acceptor: Acceptor, epoch: int, first: int, end: int, previous: int | None = None) -> Verdict:
    offsets = tuple(range(first, end))
    body = Body(JOURNAL, epoch, first, first, end, 0, 0, previous, 0, 0, 1, NO_TABLE, offsets)
    verdict = acceptor.offer(body, b"")
    assert verdict.decision is Decision.TAKEN
    return verdict


def test_a_restart_is_no_fork() -> None:
    acceptor = Acceptor()
    assert not offer(acceptor, 1, 0, 80).fork
    assert not offer(acceptor, 2, 80, 160, previous=1).fork


def test_an_older_copy_that_ends_within_an_epoch_is_a_fork() -> None:
    acceptor = Acceptor()
    offer(acceptor, 1, 0, 80)
    assert offer(acceptor, 2, 60, 70, previous=1).fork


def test_an_older_copy_that_ends_with_an_epoch_is_a_fork() -> None:
    acceptor = Acceptor()
    offer(acceptor, 1, 0, 80)
    offer(acceptor, 2, 80, 160, previous=1)
    assert offer(acceptor, 3, 80, 90, previous=1).fork


def test_a_restored_centre_sees_no_fork_where_there_is_none() -> None:
    acceptor = Acceptor()
    offer(acceptor, 1, 0, 80)
    old = Acceptor.restore(acceptor.snapshot())
    offer(acceptor, 2, 80, 160, previous=1)
    assert not offer(old, 2, 80, 160, previous=1).fork
