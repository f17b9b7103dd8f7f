"""Early stop: patience is counted in checks without anything better, and held-out episodes train nothing."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physai_ros.training.early_stop import EarlyStop
from physai_ros.training.offline import Budget, train_to_budget
from physai_ros.training.trainer import SparseTrainer

LOSSES = st.lists(st.floats(0, 10) | st.just(math.nan), max_size=30)


@given(patience=st.integers(1, 5), losses=LOSSES, cut=st.integers(0, 30))
def test_it_stops_after_patience_checks_without_a_better_one_also_when_resumed(patience, losses, cut):
    whole, parts = EarlyStop(patience), EarlyStop(patience)
    for update, loss in enumerate(losses):
        if update == cut:
            state, parts = parts.state(), EarlyStop(patience)
            parts.restore(state)
        best = [value for value in losses[:update] if not math.isnan(value)]
        assert whole.judge(update, loss) == (not math.isnan(loss) and (not best or loss < min(best)))
        parts.judge(update, loss)
        since = update - whole.best_update if not math.isnan(whole.best_loss) else update + 1
        assert whole.reached == parts.reached == (since >= patience)


def test_without_patience_it_never_stops():
    stop = EarlyStop(0)
    for update in range(100):
        stop.judge(update, 1.0)
    assert not stop.reached


def test_held_out_episodes_train_nothing(builder, demonstrations, config):
    rows = [builder.build(episode) for episode in demonstrations]
    sizes = rows[0].observations.shape[1], rows[0].actions.shape[2]
    trainer = SparseTrainer(*sizes, dataclasses.replace(config, sampler="uniform", patience=3, validation_share=0.5))
    for number, each in enumerate(rows):
        trainer.add(each, str(number))
    # Every second episode is held out, whole.
    assert len(trainer.validation) == len(rows[1]) + len(rows[3])
    assert len(trainer.outcomes) == len(trainer.demonstrations) == len(rows[0]) + len(rows[2])
    before = trainer.check()
    for _ in range(100):
        trainer.update(1e-3)
    assert trainer.check() < before
    assert trainer.early_stop.best_update == 100


def test_patience_with_nothing_to_judge_by_is_refused(builder, demonstrations, config):
    rows = builder.build(demonstrations[0])
    trainer = SparseTrainer(rows.observations.shape[1], rows.actions.shape[2], dataclasses.replace(config, patience=2))
    trainer.add(rows, "only one")
    with pytest.raises(RuntimeError, match="at least two"):
        train_to_budget(trainer, Budget(steps=10), None)


@pytest.mark.parametrize("given_", [{}, {"steps": 3, "samples": 4}, {"seconds": 0.0}])
def test_a_budget_is_one_thing(given_):
    with pytest.raises(ValueError, match="budget"):
        Budget(**given_)


def test_a_budget_of_samples_counts_gradients(builder, demonstrations, config):
    rows = builder.build(demonstrations[0])
    trainer = SparseTrainer(rows.observations.shape[1], rows.actions.shape[2], config)
    trainer.add(rows, "one")
    shares: list[float] = []
    train_to_budget(trainer, Budget(samples=500), None, on_progress=lambda progress: shares.append(progress.share))
    assert trainer.counters.backward >= 500 > trainer.counters.backward - 2 * config.batch_size
    assert shares[0] == 0.0
    assert (np.diff(shares) >= 0).all()
