"""Old cards, old centres, new centres and full journals: what can be had again is, and what can't is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.query.select import Store
from tests.wayside.faults.staged import Keeper, assert_proved, copied, is_delivering, let_run, staged, wait_for
from wayside.answer import judge
from wayside.stage import READY_S, Stage

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]


def kinds(stage: Stage) -> set[str]:
    with Store(stage.store) as store:
        return {incident["kind"] for incident in store.incidents()}


def test_an_old_card_is_put_back(tmp_path: Path) -> None:
    with staged(tmp_path, 5) as stage:
        gateway, card = stage.gateways["gw-hall"], stage.directory / "gw-hall"
        let_run(4)
        gateway.kill()
        old = copied(card, tmp_path / "old")
        gateway.start()
        gateway.await_ready(READY_S)
        let_run(4)
        gateway.ask_to_stop()  # in order: what is only on the card that is taken out would be lost with it
        gateway.await_end()
        newest = copied(card, tmp_path / "newest")
        shutil.rmtree(card)
        copied(old, card)
        gateway.start()
        gateway.await_ready(READY_S)
        let_run(4)
        assert_proved(stage, newest)
        assert "journal_restored" in kinds(stage)


def test_an_old_centre_is_put_back(tmp_path: Path) -> None:
    with staged(tmp_path, 6) as stage:
        state = stage.directory / "central"
        let_run(4)
        stage.centre.kill()
        old = copied(state, tmp_path / "old")
        stage.centre.start()
        stage.centre.await_ready(READY_S)
        let_run(4)
        stage.centre.kill()
        shutil.rmtree(state)
        copied(old, state)
        stage.centre.start()
        stage.centre.await_ready(READY_S)
        wait_for(lambda: is_delivering(stage))
        let_run(4)
        assert_proved(stage)
        assert not {"jumped", "journal_restored"} & kinds(stage)


def test_a_new_centre_is_filled_again(tmp_path: Path) -> None:
    with staged(tmp_path, 7) as stage:
        let_run(6)
        stage.centre.kill()
        shutil.rmtree(stage.directory / "central")
        stage.centre.start()
        stage.centre.await_ready(READY_S)
        wait_for(lambda: is_delivering(stage))
        let_run(4)
        assert_proved(stage)
        assert "jumped" not in kinds(stage)


def test_a_journal_that_was_full_names_what_it_let_go(tmp_path: Path) -> None:
    with staged(tmp_path, 8, scale=600, journal_bytes=1 << 18) as stage:
        keeper = Keeper(stage.journal("gw-hall"), tmp_path / "kept")
        let_run(2)
        stage.broker.child.kill()
        wait_for(lambda: stage.ask_gateway("gw-hall", {"do": "status"})["journal"]["lost"] > 0, 120)
        stage.broker.start()
        wait_for(lambda: is_delivering(stage), 60)
        let_run(3)
        stage.settle()
        keeper.end()
        verdict = judge(stage, [tmp_path / "kept"])
        assert verdict.ok, "\n".join([verdict.last_line(), *verdict.differences])
        assert verdict.accounted > 0
        assert verdict.named > 0
        assert {"jumped", "tombstone"} <= kinds(stage)
