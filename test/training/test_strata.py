"""Batches that hold about what the whole pass holds."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.training.replay import SampleLedger
from physai_ros.training.samplers import make_sampler
from physai_ros.training.strata import dealt_out, motion_of


@settings(max_examples=60, deadline=None)
@given(size=st.integers(0, 400), count=st.integers(1, 64), kinds=st.integers(1, 50), seed=st.integers(0, 1000))
def test_every_pick_is_dealt_once_and_every_batch_has_its_share_of_each_motion(size, count, kinds, seed):
    generator = np.random.default_rng(seed)
    motions = generator.integers(kinds, size=size)
    order = dealt_out(motions, count, generator)
    assert sorted(order) == list(range(size))
    batches = size // count
    dealt = motions[order[: batches * count]].reshape(batches, count)
    for motion in range(kinds if batches > 1 else 0):
        held = (dealt == motion).sum(axis=1)
        # A motion covers whole strata, of which every batch has one pick, and parts of two more at most.
        assert np.ptp(held) <= 2


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_no_pick_and_no_stratum_comes_sooner_than_another(seed):
    generator = np.random.default_rng(seed)
    motions = np.repeat(np.arange(10), 10)
    places = np.array([np.argsort(dealt_out(motions, 20, generator)) for _ in range(400)])
    spread = places.std() / np.sqrt(400)
    assert np.abs(places.mean(axis=0) - 49.5).max() < 5 * spread


def test_like_motions_have_near_numbers_and_the_gripper_divides_first():
    actions = np.array([[0.0, 0.0, -1.0], [0.1, -0.1, -0.9], [0.9, 0.0, -1.0], [0.0, 0.9, -1.0], [0.0, 0.0, 1.0]])
    motions = motion_of(actions)
    assert motions[0] == motions[1]
    assert (np.diff(motions[1:]) > 0).all()
    assert (motion_of(np.tile(actions, (1, 20))) >= 0).all()  # of more axes than a number can tell apart


def test_batches_of_the_sparse_sampler_have_the_share_of_a_rare_motion_that_the_pool_has():
    ledger, never = SampleLedger(), np.full(1000, np.inf)
    rare = np.arange(1000) % 10 == 3
    ledger.append(never, np.zeros(1000), never, motion=rare.astype(np.int64))
    generator = np.random.default_rng(0)
    sampler = make_sampler("ast", ledger)
    held = [rare[sampler.draw(50, generator).indices].sum() for _ in range(200)]
    assert abs(np.mean(held) - 5.0) < 0.1
    assert np.var(held) < 0.3 * 50 * 0.1 * 0.9  # of random batches
