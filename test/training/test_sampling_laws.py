"""Laws of Adaptive Sparse Training that hold whatever the losses are."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import Transitions
from physai_ros.training.gate import GateConfig
from physai_ros.training.replay import SampleLedger
from physai_ros.training.samplers import AdaptiveSparseSampler, make_sampler
from physai_ros.training.significance import SignificanceConfig
from physai_ros.training.trainer import SparseTrainer

GATES = st.builds(
    GateConfig,
    target_activation_rate=st.sampled_from([0.03, 0.06, 0.2, 0.5]),
    exploration_floor=st.floats(0.1, 1.0),
    score_cap=st.floats(80.0, 100.0),
    sharpness=st.floats(0.3, 2.0),
    correction=st.just(1.0),
    attention=st.just(np.inf),
)


def settled(loss: np.ndarray, gate: GateConfig, generator: np.random.Generator) -> AdaptiveSparseSampler:
    """A corrected sampler that knows every loss and whose gate has found its rate."""
    ledger = SampleLedger()
    unknown = np.full(len(loss), np.inf)
    ledger.append(unknown, np.zeros(len(loss)), unknown)
    for _ in range(8):
        ledger.record(np.arange(len(loss)), loss)
    sampler = AdaptiveSparseSampler(ledger, gate, SignificanceConfig(0, 1, 0, 0, 0))
    for _ in range(40):
        sampler.choose(64, generator)
    return sampler


@settings(max_examples=15, deadline=None)
@given(gate=GATES, shape=st.floats(0.3, 2.0), seed=st.integers(0, 1000))
def test_corrected_by_its_probability_a_pass_estimates_the_mean_over_all(gate, shape, seed):
    generator = np.random.default_rng(seed)
    loss = generator.gamma(shape, size=500)
    sampler = settled(loss, gate, generator)
    wanted = loss**2  # whatever is estimated, and not what the gate decides by
    estimates = []
    for _ in range(300):
        chosen = sampler.choose(64, generator)
        estimates.append((chosen.weights * wanted[chosen.indices]).sum() / chosen.offered)
    expected = gate.target_activation_rate * wanted.mean()
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - expected) < 5 * error + 1e-9 * expected


@settings(max_examples=15, deadline=None)
@given(gate=GATES, seed=st.integers(0, 1000))
def test_the_floor_reaches_what_counts_for_nothing(gate, seed):
    generator = np.random.default_rng(seed)
    loss = np.where(np.arange(300) < 30, 0.0, 1.0)
    sampler = settled(loss, gate, generator)
    reached, offered = np.zeros(300), 0
    for _ in range(400):
        draw = sampler.draw(128, generator)
        np.add.at(reached, draw.indices, 1)
        offered += draw.offered
    each = offered / 300 * sampler.gate.floor  # visits that the floor alone gives a sample
    assert reached[:30].mean() > each - 5 * np.sqrt(each / 30) - 1.0


@settings(max_examples=15, deadline=None)
@given(name=st.sampled_from(["ast", "infobatch", "prioritized"]), count=st.integers(1, 700), seed=st.integers(0, 1000))
def test_what_is_offered_is_counted_batch_by_batch(name, count, seed):
    """Neither all at once when a pass begins nor lost at its end, whatever batches are asked for."""
    generator = np.random.default_rng(seed)
    ledger = SampleLedger()
    ledger.append(np.full(200, np.inf), np.zeros(200), np.full(200, np.inf))
    ledger.record(np.arange(200), generator.gamma(0.5, size=200))
    sampler = make_sampler(name, ledger)
    offered = [sampler.draw(count, generator).offered for _ in range(40)]
    assert max(offered) <= 2.5 * np.mean(offered) + 1
    each = np.sum(offered) / (40 * count)
    assert {"ast": 12 < each < 22, "infobatch": 1 <= each < 2.1, "prioritized": abs(each - 1) < 0.1}[name]


def transitions(count: int, wrong: np.ndarray, generator: np.random.Generator) -> Transitions:
    observations = generator.standard_normal((count, 6)).astype(np.float32)
    actions = np.tanh(observations[:, :3])
    actions[wrong] = generator.uniform(-1.0, 1.0, (int(wrong.sum()), 3))
    full, unknown = np.ones(count, dtype=np.float32), np.full(count, np.inf, dtype=np.float32)
    return Transitions(observations, actions[:, None], full[:, None], full > 0, full > 0, full, full, 0 * full, unknown)


def test_the_activation_is_within_a_point_and_wrong_labels_are_seen_no_more_than_others_in_the_end():
    generator = np.random.default_rng(0)
    wrong = generator.random(3000) < 0.02
    config = TrainerConfig(
        batch_size=64,
        hidden_sizes=(64, 64),
        outcome_batch=0,
        held_out_share=0.0,
        significance=SignificanceConfig(0, 1, 0, 0, 0),
    )
    trainer = SparseTrainer(6, 3, config)
    trainer.add(transitions(3000, wrong, generator), "one")
    visits, measured = [np.zeros(3000)], []
    for _ in range(4):
        offered, backward = trainer.counters.offered, trainer.counters.backward
        for _ in range(450):
            trainer.update(2e-3)
        visits.append(trainer.demonstrations.ledger.visits.copy())
        measured.append((trainer.counters.backward - backward) / (trainer.counters.offered - offered))
    assert max(abs(rate - config.gate.target_activation_rate) for rate in measured) < 0.01
    drawn = np.diff(visits, axis=0)
    preference = drawn[:, wrong].mean(axis=1) / drawn[:, ~wrong].mean(axis=1)
    assert preference[0] > preference[-1]
    assert preference[-1] < 1.35
