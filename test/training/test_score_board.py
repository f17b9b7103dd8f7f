"""Scores that are kept up to date without a pass over the pool."""

from __future__ import annotations

import numpy as np
import pytest

from physai_ros.training.gate import GateConfig
from physai_ros.training.proxy import LossProxy
from physai_ros.training.replay import SampleLedger
from physai_ros.training.score_board import ScoreBoard
from physai_ros.training.significance import RobotTrainingSignificance


def ledger_of(count: int) -> SampleLedger:
    ledger = SampleLedger()
    ledger.append(np.full(count, np.inf), np.zeros(count), np.full(count, np.inf))
    return ledger


def visit(ledger: SampleLedger, loss: np.ndarray, rounds: int) -> None:
    for _ in range(rounds):
        ledger.record(np.arange(len(loss)), loss)


def board_of(ledger: SampleLedger, **gate: float) -> ScoreBoard:
    return ScoreBoard(ledger, RobotTrainingSignificance(), GateConfig(**gate))


def test_what_is_new_counts_most_until_it_is_known():
    ledger = ledger_of(100)
    board = board_of(ledger)
    assert (board.scores() == 1.0).all()
    visit(ledger, np.full(100, 0.1), 3)
    ledger.append(np.full(10, np.inf), np.zeros(10), np.full(10, np.inf))
    assert board.scores()[-10:].min() == 1.0
    assert board.scores()[:100].max() < 1.0


def test_scores_follow_the_losses_that_were_seen():
    loss = np.linspace(0.01, 1.0, 400)
    ledger = ledger_of(400)
    visit(ledger, loss, 20)
    assert np.corrcoef(board_of(ledger, attention=np.inf).scores(), loss)[0, 1] > 0.9


def test_attention_is_finite_so_a_wrong_label_does_not_keep_the_gate_to_itself():
    loss = np.random.default_rng(1).uniform(0.05, 0.1, 400)
    loss[:8] = 5.0
    ledger = ledger_of(400)
    board = board_of(ledger)

    def preference() -> float:
        scores = board.scores()
        return scores[:8].mean() / scores[8:].mean()

    visit(ledger, loss, 5)
    early = preference()
    assert early > 1.1  # hardly visited: it may well be hard and right
    visit(ledger, loss, 15)
    assert 1.0 < preference() < early
    visit(ledger, loss, 80)
    assert preference() == pytest.approx(1.0, abs=0.02)


def half_seen() -> tuple[np.ndarray, np.ndarray, SampleLedger]:
    """Inputs and loss of a pool whose second half was never visited."""
    inputs = np.random.default_rng(2).standard_normal((2000, 5)).astype(np.float32)
    loss = np.exp(inputs[:, 0] - 3.0)
    ledger = ledger_of(2000)
    for _ in range(2):
        ledger.record(np.arange(1000), loss[:1000])
    return inputs, loss, ledger


def test_the_proxy_scores_what_was_never_visited():
    inputs, loss, ledger = half_seen()
    board = ScoreBoard(ledger, RobotTrainingSignificance(), GateConfig(), lambda rows: inputs[rows])
    unseen = slice(1000, None)
    assert np.corrcoef(board.scores()[unseen], np.minimum(loss[unseen], 0.2))[0, 1] > 0.8


def test_a_restored_board_goes_on_alike():
    inputs, loss, ledger = half_seen()
    board = ScoreBoard(ledger, RobotTrainingSignificance(), GateConfig(), lambda rows: inputs[rows])
    board.scores()
    copy = ScoreBoard(ledger, RobotTrainingSignificance(), GateConfig(), lambda rows: inputs[rows])
    copy.restore(board.state())
    ledger.record(np.arange(500), 2.0 * loss[:500])
    assert np.array_equal(board.scores(), copy.scores())


def test_the_proxy_learns_and_forgets():
    generator = np.random.default_rng(4)
    proxy = LossProxy(3)
    assert np.isnan(proxy.predict(np.zeros((2, 3), dtype=np.float32))).all()
    for sign in (1.0, -1.0):
        for _ in range(300):
            inputs = generator.standard_normal((64, 3), dtype=np.float32)
            proxy.learn(inputs, np.exp(sign * inputs[:, 0]))
        inputs = generator.standard_normal((500, 3), dtype=np.float32)
        assert np.corrcoef(np.log(proxy.predict(inputs)), sign * inputs[:, 0])[0, 1] > 0.9


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_proxy_learns_nothing_from_a_loss_that_is_no_number(bad):
    proxy = LossProxy(3)
    inputs = np.random.default_rng(5).standard_normal((64, 3)).astype(np.float32)
    proxy.learn(inputs, np.full(64, bad))
    assert proxy.lessons == 0
    loss = np.exp(inputs[:, 0])
    loss[0] = bad
    proxy.learn(inputs, loss)
    assert np.isfinite(proxy.predict(inputs)).all()
