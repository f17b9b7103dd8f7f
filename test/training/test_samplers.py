"""The samplers and the significance behind the sparse one."""

from __future__ import annotations

import numpy as np
import pytest

from physai_ros.training.replay import SampleLedger
from physai_ros.training.samplers import SAMPLERS, InfoBatchSampler, make_sampler
from physai_ros.training.significance import RobotTrainingSignificance, SignificanceConfig, TrainingSampleContext


def ledger_of(loss: np.ndarray) -> SampleLedger:
    ledger = SampleLedger()
    count = len(loss)
    ledger.append(np.full(count, np.inf), np.zeros(count), np.full(count, np.inf))
    seen = np.flatnonzero(np.isfinite(loss))
    ledger.record(seen, loss[seen])
    ledger.measure(seen, np.zeros(len(seen)), np.zeros(len(seen)))
    return ledger


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_reaches_every_sample_and_counts_what_it_offered(name):
    generator = np.random.default_rng(0)
    ledger = ledger_of(generator.random(300).astype(np.float32))
    sampler = make_sampler(name, ledger)
    reached, drawn, offered = np.zeros(300, dtype=int), 0, 0
    for _ in range(200):
        draw = sampler.draw(64, generator)
        assert draw.weights.shape == draw.indices.shape
        np.add.at(reached, draw.indices, 1)
        drawn, offered = drawn + len(draw.indices), offered + draw.offered
    assert reached.min() > 0
    assert drawn <= offered
    expected = {"ast": 0.06, "random": 0.06}.get(name)
    if expected:
        assert abs(drawn / offered - expected) < 0.01


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_draws_from_what_was_never_visited(name):
    ledger = ledger_of(np.full(50, np.nan))
    draws = [make_sampler(name, ledger).draw(64, np.random.default_rng(0)) for _ in range(3)]
    assert sum(len(draw.indices) for draw in draws) > 0


def test_prioritized_prefers_what_is_hard():
    loss = np.full(100, 0.01, dtype=np.float32)
    loss[:10] = 1.0
    draw = make_sampler("prioritized", ledger_of(loss)).draw(20000, np.random.default_rng(0))
    hard = np.mean(draw.indices < 10)
    assert abs(hard - 10 / (10 + 90 * 0.01**0.6)) < 0.02


def test_infobatch_weights_keep_the_expected_gradient():
    generator = np.random.default_rng(0)
    loss = generator.random(400).astype(np.float32)
    sampler = InfoBatchSampler(ledger_of(loss))
    total = np.zeros(400)
    for _ in range(3000):
        draw = sampler.draw(300, generator)
        np.add.at(total, draw.indices, draw.weights)
    easy = loss < loss.mean()
    assert abs(total[easy].mean() / total[~easy].mean() - 1.0) < 0.02


def test_an_unknown_sampler_is_refused_with_the_list():
    with pytest.raises(ValueError, match="infobatch"):
        make_sampler("best", SampleLedger())


def context(count: int, **known: np.ndarray) -> TrainingSampleContext:
    values = {name: np.full(count, 0.5) for name in ("loss", "previous_loss", "novelty", "uncertainty")}
    values |= {"failure_time": np.full(count, np.inf), "force_excess": np.zeros(count)}
    values |= {name: np.full(count, np.inf) for name in ("intervention_age", "event_time")}
    return TrainingSampleContext(**(values | known))


def test_every_signal_is_between_zero_and_one_whatever_is_unknown():
    generator = np.random.default_rng(0)
    columns = {name: generator.exponential(size=64) for name in ("loss", "previous_loss", "novelty", "uncertainty")}
    for values in columns.values():
        values[generator.random(64) < 0.3] = np.nan
    signals = RobotTrainingSignificance().signals(context(64, **columns))
    assert signals.shape == (64, 5)
    assert signals.min() >= 0.0
    assert signals.max() <= 1.0


@pytest.mark.parametrize(
    ("weight", "known"),
    [
        ("w_learning", {"previous_loss": np.linspace(0.5, 5.0, 10)}),
        ("w_difficulty", {"loss": np.linspace(0.1, 1.0, 10)}),
        ("w_novelty", {"novelty": np.linspace(0.1, 1.0, 10)}),
        ("w_uncertainty", {"uncertainty": np.linspace(0.1, 1.0, 10)}),
        ("w_physical", {"failure_time": np.linspace(5.0, 0.0, 10)}),
        ("w_physical", {"force_excess": np.linspace(0.0, 1.0, 10)}),
        ("w_physical", {"intervention_age": np.linspace(5.0, 0.0, 10)}),
        ("w_physical", {"event_time": np.linspace(5.0, 0.0, 10)}),
    ],
)
def test_each_signal_rises_with_what_it_stands_for(weight, known):
    zero = dict.fromkeys(SignificanceConfig.__dataclass_fields__, 0.0)
    significance = RobotTrainingSignificance(SignificanceConfig(**(zero | {weight: 1.0})))(context(10, **known))
    assert (np.diff(significance) >= 0).all()
    assert significance[-1] > significance[0]


def test_weights_that_weigh_nothing_are_refused():
    with pytest.raises(ValueError, match="above 0"):
        SignificanceConfig(0, 0, 0, 0, 0)
