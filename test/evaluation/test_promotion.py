"""A candidate earns its place, a version that fails loses it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from physai_ros.evaluation.promotion import (
    PromotionRule,
    judge_candidate,
    promote,
    rollback,
    rollback_reason,
)
from physai_ros.evaluation.shadow import shadow_run
from physai_ros.evaluation.trials import TrialSettings
from physai_ros.experience.episode import Episode
from physai_ros.experience.store import EpisodeStore
from physai_ros.policy.registry import PolicyFileError, PolicyRegistry

RULE = PromotionRule(episodes=8, most_episodes=8)


def judged(registry: PolicyRegistry, candidate: str, **options: object) -> object:
    return judge_candidate(registry, candidate, TrialSettings("reach", str(registry.folder)), RULE, **options)


def test_the_first_policy_is_taken_and_a_better_one_replaces_it(
    own_registry: PolicyRegistry, demonstrations: list[Episode], tmp_path: Path
) -> None:
    store = EpisodeStore(tmp_path / "episodes")
    for episode in demonstrations[:2]:
        store.write(episode)
    first = judged(own_registry, "000001", recordings=str(store.folder))
    assert (first.promoted, first.verdict) == (True, "initial")
    assert first.shadow.observations > 10
    assert (first.replay.problem, first.replay.decisions > 300) == ("", True)
    assert promote(own_registry, first).activation.generation == 1
    better = judged(own_registry, "000002")
    assert (better.promoted, better.verdict) == (True, "better")
    assert "8 of 8 against 0 of 8" in better.reason
    activation = promote(own_registry, better).activation
    assert (activation.version, activation.generation, activation.previous) == ("000002", 2, "000001")
    worse = judged(own_registry, "000001")
    assert (worse.promoted, worse.verdict) == (False, "worse")
    with pytest.raises(ValueError, match="has not earned promotion"):
        promote(own_registry, worse)
    with pytest.raises(ValueError, match="test again"):
        promote(own_registry, better)
    back = rollback(own_registry, reason="it fell")
    assert (back.version, back.generation, back.verdict) == ("000001", 3, "rollback")
    with pytest.raises(PolicyFileError, match="is the active version already"):
        rollback(own_registry, "000001")


def test_an_equal_candidate_is_never_called_worse(own_registry: PolicyRegistry) -> None:
    own_registry.activate("000002")
    equal = judged(own_registry, "000003")
    assert equal.verdict in ("not_worse", "not_enough_trials")
    assert equal.evaluation.comparison.gain == 0.0


def test_a_file_that_was_damaged_is_refused(own_registry: PolicyRegistry) -> None:
    own_registry.activate("000002")
    path = own_registry.folder / "000003" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\1\2\3")
    result = judged(own_registry, "000003")
    assert (result.promoted, result.verdict) == (False, "refused")
    assert "corrupted" in result.reason
    assert own_registry.current()[0] == "000002"


def test_a_shadow_run_finds_what_must_not_act(registry: PolicyRegistry) -> None:
    policy = registry.load("000002")
    size = policy.manifest.architecture.observation_size
    observations, done = np.zeros((50, size), dtype=np.float32), np.zeros((50, 7))
    assert shadow_run(policy, observations, done).problem == ""
    assert "ms is allowed" in shadow_run(policy, observations, done, latency_limit=1e-9).problem
    assert "of another task" in shadow_run(policy, observations[:, 1:], done).problem
    with_holes = observations.copy()
    with_holes[3] = np.nan
    assert "1 of 50 decisions are not finite" in shadow_run(policy, with_holes, done).problem


def test_a_fall_is_noticed_and_a_bad_day_is_not() -> None:
    good, bad = [True] * 18 + [False] * 2, [False] * 9 + [True]
    assert "1 of 10" in rollback_reason(bad, good)
    assert rollback_reason(bad[:5], good) == ""
    assert rollback_reason([True, False] * 6, [True, False] * 6) == ""
    assert rollback_reason(good, bad) == ""


def test_a_rule_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="expected better or not_worse"):
        PromotionRule(mode="maybe")
    with pytest.raises(ValueError, match="expected 0 < margin < 1"):
        PromotionRule(margin=0.0)
