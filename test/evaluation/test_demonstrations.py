"""Demonstrations: the same ones however often they were cut off, and more where they are needed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from physai_ros.evaluation.demonstrations import CollectionPlan, collect_demonstrations
from physai_ros.evaluation.rehearsal import Rehearsal
from physai_ros.experience.store import EpisodeStore
from physai_ros.policy.network import Architecture, Prediction, RobotPolicyNetwork
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.task import Task


def goals(store: str) -> np.ndarray:
    """Goals (n, 3) [m] that were demonstrated, in the order of the episodes."""
    return np.array([summary.context.goal for summary in EpisodeStore(store).summaries().values()])


@pytest.fixture
def plan(tmp_path) -> CollectionPlan:
    return CollectionPlan("reach", str(tmp_path / "store"), 9, curriculum="significance")


@pytest.fixture
def hopeless(tmp_path) -> PolicyRegistry:
    """A registry with a policy that has learned nothing."""
    task, registry = load_task("reach"), PolicyRegistry(tmp_path / "registry")
    # The layout's parts and the task's features of the measured and of the commanded pose.
    size = 17 + 2 + 2 * (len(task.action_axes) + 1) + 3 + 2 + 2 * 6 + 5
    network = RobotPolicyNetwork(Architecture(size, len(task.action_axes) + 1), seed=0)
    registry.add(network, task=task.name, action_axes=task.action_axes, action_scale=task.action_scale)
    return registry


def test_what_was_cut_off_goes_on_to_the_same_scenarios(plan, tmp_path):
    collect_demonstrations(plan)
    again = dataclasses.replace(plan, store=str(tmp_path / "again"))
    collect_demonstrations(dataclasses.replace(again, episodes=3))
    heard: list[int] = []
    collect_demonstrations(again, lambda result: heard.append(result.index))
    assert heard == list(range(3, 9))
    np.testing.assert_array_equal(goals(plan.store), goals(again.store))


def test_uniform_scenarios_are_those_of_the_stream(plan, tmp_path):
    uniform = dataclasses.replace(plan, curriculum="uniform", episodes=3)
    collect_demonstrations(uniform)
    more = dataclasses.replace(uniform, store=str(tmp_path / "more"), episodes=5)
    collect_demonstrations(more)
    np.testing.assert_array_equal(goals(uniform.store), goals(more.store)[:3])


def test_a_policy_that_fails_has_a_say(plan, hopeless, tmp_path):
    asked = dataclasses.replace(
        plan, store=str(tmp_path / "asked"), registry=str(hopeless.folder), policy=hopeless.versions()[0]
    )
    results = collect_demonstrations(asked)
    assert len(results) == 9
    assert all(result.success for result in results)  # what is kept is the expert's, not what the policy tried
    assert len(EpisodeStore(asked.store)) == 9
    collect_demonstrations(plan)
    assert not np.array_equal(goals(plan.store)[8:], goals(asked.store)[8:])


def test_a_rehearsal_of_nothing_mastered_changes_nothing(plan, hopeless, tmp_path):
    asked = dataclasses.replace(plan, registry=str(hopeless.folder), policy=hopeless.versions()[0], episodes=3)
    collect_demonstrations(asked)
    rehearsed = dataclasses.replace(asked, store=str(tmp_path / "rehearsed"), curriculum="uniform", rehearse=True)
    assert all(result.success for result in collect_demonstrations(rehearsed))
    again = dataclasses.replace(rehearsed, store=str(tmp_path / "again"))
    collect_demonstrations(again)
    np.testing.assert_array_equal(goals(rehearsed.store), goals(again.store))


def test_nobody_can_rehearse_blindfold_or_unnamed(plan, tmp_path):
    unnamed = dataclasses.replace(plan, rehearse=True)
    with pytest.raises(ValueError, match="nobody is named who rehearses"):
        collect_demonstrations(unnamed)


class _Homing:
    """Goes to where the tool is to be, as `reach` wants it."""

    version = "homing"

    def __init__(self, task: Task) -> None:
        self._size = len(task.action_axes) + 1

    def predict(self, observation: np.ndarray) -> Prediction:
        return Prediction(np.concatenate([10 * observation[-17:-14], [0.0] * (self._size - 3)])[None], 0.5, 0.0)


def test_a_rehearsal_is_by_the_policy_that_drives_by_then():
    task, driving = load_task("reach"), []
    rehearsal = Rehearsal(RobotSpec.load("fr3_sim"), task, lambda: driving[-1] if driving else None, 0)
    parameters = task.sample_scenario(np.random.default_rng(3)).parameters
    assert not rehearsal(parameters)
    driving.append(_Homing(task))
    assert rehearsal(parameters)
    assert rehearsal.tried == 1
