"""Starts that are tried: counted as they went, and with a rehearsal mostly where the policy fails."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from physai_ros.cli.metaworld_scenarios import StartsTried, try_starts
from physai_ros.cli.training_problems import METAWORLD_TASKS, problem_of
from physai_ros.policy.network import RobotPolicyNetwork
from physai_ros.training.dataset import Transitions


class _Half:
    """A task of which the policy masters the lower half, whatever it is shown."""

    name = "half"

    def __init__(self) -> None:
        self.shown: list[float] = []

    def bounds(self) -> dict[str, tuple[float, float]]:
        return {"start_0": (0.0, 1.0)}

    def masters(self, network: RobotPolicyNetwork, start: Mapping[str, float]) -> bool:
        return start["start_0"] < 0.5

    def rollouts(self, network: RobotPolicyNetwork, count: int, seed: int, first: int = 0) -> list[bool]:
        return [True] * (count // 2) + [False] * (count - count // 2)

    def shown_from(self, start: Mapping[str, float], seed: int) -> Transitions | None:
        self.shown.append(start["start_0"])
        if len(self.shown) == 2:
            return None  # the scripted policy fails as well, once
        observations = np.full((5, 2), start["start_0"], dtype=np.float32)
        full, unknown = np.ones(5, dtype=np.float32), np.full(5, np.inf, dtype=np.float32)
        actions = np.zeros((5, 1, 2), dtype=np.float32)
        return Transitions(observations, actions, full[:, None], full > 0, full > 0, full, full, 0 * full, unknown)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("physai_ros.cli.metaworld_scenarios._UPDATES", 3)


def tried(method: str, *, rehearse: bool) -> tuple[_Half, StartsTried]:
    problem = _Half()
    plan = {"demonstrations": 4, "episodes": 40, "every": 8, "rollouts": 10}
    return problem, try_starts(problem, method, rehearse=rehearse, seed=0, **plan)


def test_what_the_policy_cannot_do_is_shown_and_counted():
    problem, found = tried("uniform", rehearse=False)
    assert found.success == [0.5] * 6
    assert found.own_success + found.interventions == 40
    assert len(problem.shown) == 5 + found.interventions  # one of the first demonstrations was to be had again
    assert all(start >= 0.5 for start in problem.shown[5:])
    assert found.rehearsals == 0


def test_a_rehearsal_spends_episodes_where_the_policy_fails():
    _, plain = tried("uniform", rehearse=False)
    _, found = tried("uniform", rehearse=True)
    assert found.interventions > 30 > plain.interventions
    assert found.rehearsals > found.interventions


def test_a_task_of_metaworld_needs_an_interpreter_that_has_it():
    with pytest.raises(ValueError, match="--metaworld-python"):
        problem_of(METAWORLD_TASKS[0], None)
