"""What gateways are told, and when."""

from __future__ import annotations

import itertools
import random
from uuid import UUID

from pipelines.ingest.statements import EACH_S, LEAST_S, REBIRTH_S, SPREAD_S, Rebirths, Statements

NODE, JOURNAL, OTHER = ("city", "gw"), UUID(int=1), UUID(int=2)
GRANT = 64 << 10
ALL = 1000


def put(
    statements: Statements,
    now_s: float,
    position: int = 1,
    *,
    journal: UUID = JOURNAL,
    gap: bool = False,
    attempt: int = 0,
    urgent: bool = False,
    taken_bytes: int = 100,
) -> float:
    return statements.put(
        NODE, journal, {0xAB: position}, gap=gap, attempt=attempt, urgent=urgent, taken_bytes=taken_bytes, now_s=now_s
    )


def begun() -> Statements:
    """Something was said at 0.0, with a grant."""
    statements = Statements("5e55")
    put(statements, 0.0)
    assert len(statements.due(0.0, GRANT, 0, ALL)) == 1
    return statements


def test_the_first_word_comes_at_once_and_says_everything() -> None:
    statements = Statements("5e55")
    assert put(statements, 7.0, 4711, attempt=3) == 7.0
    ((node, said),) = statements.due(7.0, GRANT, 1234, ALL)
    assert node == NODE
    assert (said.session, said.n, said.journal, said.positions) == ("5e55", 1, JOURNAL, {"00000000000000ab": 4711})
    assert (said.grant, said.gap, said.attempt, said.t_ms) == (GRANT, False, 3, 1234)
    assert (statements.due(100.0, GRANT, 0, ALL), statements.next_due_s()) == ([], None)


def test_then_a_second_apart_and_the_latest_stands() -> None:
    statements = begun()
    assert put(statements, 0.2, 2) == EACH_S
    put(statements, 0.9, 3)
    assert statements.due(EACH_S - 0.01, GRANT, 0, ALL) == []
    ((_, said),) = statements.due(EACH_S, GRANT, 0, ALL)
    assert said.positions == {"00000000000000ab": 3}


def test_birth_gap_and_half_a_grant_do_not_wait() -> None:
    assert put(begun(), 0.2, urgent=True) == 0.2
    assert put(begun(), 0.2, gap=True) == 0.2
    statements = begun()
    assert put(statements, 0.2, taken_bytes=GRANT // 4) == EACH_S
    assert put(statements, 0.3, taken_bytes=GRANT // 4) == 0.3
    assert put(begun(), LEAST_S / 2, urgent=True) == LEAST_S, "but not more often than that"


def test_who_has_waited_longest_is_told_first_and_the_others_are_told_the_newest() -> None:
    statements, journals = Statements("5e55"), [UUID(int=n) for n in range(5)]
    for n, journal in enumerate(journals):
        put(statements, 1.0 - n * 0.1, 1, journal=journal)
    told = [said.journal for _, said in statements.due(1.0, GRANT, 0, 2)]
    assert told == [journals[4], journals[3]]
    put(statements, 1.0, 2, journal=journals[0])
    rest = [said for _, said in statements.due(1.0, GRANT, 0, ALL)]
    assert [said.journal for said in rest] == [journals[2], journals[1], journals[0]]
    assert rest[-1].positions == {"00000000000000ab": 2}


def test_a_gap_is_said_once_and_not_forgotten_before() -> None:
    statements = begun()
    put(statements, 0.1, gap=True, attempt=5)
    put(statements, 0.1, attempt=5)
    ((_, said),) = statements.due(0.2, GRANT, 0, ALL)
    assert (said.gap, said.attempt) == (True, 5)
    put(statements, 5.0, attempt=5)
    assert statements.due(5.0, GRANT, 0, ALL)[0][1].gap is False
    put(statements, 6.0, gap=True, attempt=6)
    put(statements, 6.0, attempt=7)
    ((_, said),) = statements.due(6.0, GRANT, 0, ALL)
    assert (said.gap, said.attempt) == (False, 7), "the sender has gone back already"


def test_all_are_told_when_grants_come_back() -> None:
    statements = begun()
    put(statements, 0.0, journal=OTHER)
    statements.due(0.0, 0, 0, ALL)
    statements.restate(9.0)
    said = statements.due(9.0, GRANT, 0, ALL)
    assert [(each.journal, each.grant) for _, each in said] == [(JOURNAL, GRANT), (OTHER, GRANT)]
    assert [each.n for _, each in said] == [3, 4]


def test_a_node_is_asked_for_its_births_at_most_once_in_thirty_seconds() -> None:
    rebirths, asked, now_s = Rebirths(random.Random(1)), [], 0.0
    while now_s < 200.0:
        rebirths.want(NODE, now_s)
        asked += [now_s for _ in rebirths.due(now_s, ALL)]
        now_s += 0.1
    assert asked[0] <= SPREAD_S + 0.1
    assert 5 <= len(asked) <= 7
    assert min(later - earlier for earlier, later in itertools.pairwise(asked)) >= REBIRTH_S


def test_many_are_spread() -> None:
    rebirths = Rebirths(random.Random(2))
    for n in range(300):
        rebirths.want(("city", f"gw-{n}"), 0.0)
    counts = [len(rebirths.due(n * SPREAD_S / 10, ALL)) for n in range(11)]
    assert sum(counts) == 300
    assert max(counts) < 60


def test_some_are_asked_now_and_the_others_later() -> None:
    rebirths = Rebirths(random.Random(2))
    for n in range(10):
        rebirths.want(("city", f"gw-{n}"), 0.0)
    asked = [*rebirths.due(SPREAD_S, 4), *rebirths.due(SPREAD_S, 4), *rebirths.due(SPREAD_S, 4)]
    assert len(set(asked)) == len(asked) == 10
