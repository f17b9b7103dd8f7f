"""Beside a peer: what a run of ours counts, what is said of two curves, and a peer that is not there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from physai_ros.cli.bench_peers import figures
from physai_ros.cli.peer_study import SAC, PeerPlan, run_ours, run_sac
from physai_ros.training.dataset import Transitions

PLAN = PeerPlan("line", demonstrations=2, rounds=4, episodes=3, updates=20, held_out=30)


def episode(length: int, *, own: bool) -> Transitions:
    """Steps of one that succeeded, in its last."""
    flag, generator = np.full(length, own), np.random.default_rng(length)
    return Transitions(
        observations=generator.standard_normal((length, 3)).astype(np.float32),
        actions=generator.uniform(-1, 1, (length, 1, 2)).astype(np.float32),
        action_known=np.ones((length, 1), dtype=np.float32),
        imitable=~flag,
        demonstration=~flag,
        success=np.ones(length, dtype=np.float32),
        time_to_end=0.1 * np.arange(length, 0, -1, dtype=np.float32),
        force_excess=np.zeros(length, dtype=np.float32),
        intervention_age=np.full(length, np.inf, dtype=np.float32),
        own=flag,
    )


class Line:
    """A problem of which the n-th policy that is judged succeeds in the n-th share."""

    def __init__(self, *shares: float) -> None:
        self.shares, self.firsts, self._judged = list(shares), [], -1

    def shown(self, count: int, seed: int) -> list[Transitions]:
        """Some steps."""
        return [episode(40 + index, own=False) for index in range(count)]

    def demonstrated(self, count: int, seed: int) -> Path:
        """A name alone: nobody comes to read it."""
        return Path("demonstrations.npz")

    def rollouts(self, network: object, count: int, seed: int, first: int = 0) -> list[bool]:
        """The first of them succeed."""
        self._judged += first == 0
        share = self.shares[self._judged]
        return [first + index < share * PLAN.held_out for index in range(count)]

    def own_episodes(
        self, network: object, count: int, seed: int, first: int, exploration: float
    ) -> tuple[list[Transitions], float]:
        """Ten steps each, all of them successes."""
        self.firsts.append(first)
        return [episode(10, own=True) for _ in range(count)], 100.0


def test_a_run_of_ours_counts_its_own_steps_and_their_time_and_ends_at_the_level():
    problem, told = Line(0.3, 0.95), []
    curve = run_ours(PLAN, problem, told.append)
    assert told == curve
    assert [point["own_steps"] for point in curve] == [0, 60]
    assert [point["rollouts"] for point in curve] == [20, 30]  # one that mostly fails is far enough away
    assert curve[1]["cpu_seconds"] - curve[0]["cpu_seconds"] > 200.0
    assert problem.firsts == [0, 3]


def test_a_run_that_does_not_come_to_the_level_ends_after_its_rounds_with_fresh_starts_in_each():
    problem = Line(0.6, 0.6, 0.6)
    curve = run_ours(PLAN, problem, lambda point: None)
    assert [point["own_steps"] for point in curve] == [0, 60, 120]
    assert problem.firsts == [0, 3, 6, 9]


def test_an_interpreter_without_the_peer_is_named_with_what_to_do():
    with pytest.raises(RuntimeError, match=r"No module named .*requirements/peers.txt"):
        run_sac(PLAN, Line(), Path(sys.executable), lambda point: None)


def row(arm: str, seed: int, *points: tuple[int, float, float]) -> dict[str, object]:
    names = ("own_steps", "cpu_seconds", "success")
    return {
        "arm": arm,
        "plan": {"level": 0.9, "seed": seed},
        "curve": [dict(zip(names, each, strict=True)) for each in points],
    }


def test_ratios_are_paired_and_one_that_never_came_counts_with_all_it_took():
    rows = [
        row("uniform", 0, (0, 10.0, 0.5), (1000, 50.0, 0.95)),
        row(SAC, 0, (4000, 100.0, 0.2), (8000, 200.0, 0.3)),
        row("uniform", 1, (0, 10.0, 0.5), (2000, 25.0, 0.92)),
        row(SAC, 1, (4000, 100.0, 0.91)),
    ]
    found = figures(rows)
    assert found["uniform_reached"] == 2 and found["sac_reached"] == 1
    assert found["sac_own_steps_ratio"] == pytest.approx(4.0)  # 8 and 2
    assert found["sac_cpu_seconds_ratio"] == pytest.approx(4.0)  # 4 and 4
    assert found["sac_success"] == pytest.approx(0.605)


def test_the_documentation_has_the_rows():
    root = Path(__file__).parents[2]
    rows = [json.loads(line) for line in (root / "benchmarks/peers/rows.jsonl").read_text().splitlines()]
    text = (root / "docs/reinforcement_learning.md").read_text()
    assert rows
    for row in rows:
        last = row["curve"][-1]
        cells = f"{last['success']:.0%} | {last['own_steps']:,} | {last['cpu_seconds']:.0f} s |"
        assert f"| {row['plan']['seed']} | {row['arm']} | " in text and cells in text, (row["arm"], cells)
