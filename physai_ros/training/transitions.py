"""From the policy steps of an episode to what a critic learns from: what was done, what it brought, where it led."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from physai_ros.experience.episode import Episode
from physai_ros.policy.observation import displacement_between
from physai_ros.robot.command import CommandSource
from physai_ros.robot.kinematics import Kinematics
from physai_ros.tasks.task import Task
from physai_ros.training.observed import Sight

_UNJUDGED = ("timeout", "operator", "not_started", "")
"""Reasons to end an episode that say nothing about the state it ended in."""


class Returns(NamedTuple):
    """What n policy steps of one episode brought over the steps that followed.

    `reward` (n,) is their discounted sum; the value of the state `ahead` (n,) rows on counts `bootstrap` (n,) of it, 0
    where the episode had come to its end by then; `usable` (n,) is 0 where nobody knows what was done or followed.
    """

    reward: np.ndarray
    ahead: np.ndarray
    bootstrap: np.ndarray
    usable: np.ndarray


class Steps(NamedTuple):
    """b steps as a critic takes them.

    `executed` (b, action_size) in -1 ... 1, `reward` (b,), `following` what is seen where it led, `bootstrap` (b,) and
    `usable` (b,) as in `Returns`, `own` (b,) 1 for a step of the policy itself, 0 for a demonstration or a correction,
    `success` (b,) 1 where its episode succeeded.
    """

    executed: torch.Tensor
    reward: torch.Tensor
    following: Sight
    bootstrap: torch.Tensor
    usable: torch.Tensor
    own: torch.Tensor
    success: torch.Tensor


def executed_actions(
    episode: Episode, first: np.ndarray, labels: np.ndarray, kinematics: Kinematics, task: Task
) -> np.ndarray:
    """What was done (n, action_size) in the policy steps that begin at the samples `first` (n,), in -1 ... 1.

    Where the policy was in control and the safety monitor let it through unaltered that is what it asked for, `labels`
    (n, action_size). Else it is how far the set-point moved: what a demonstrator did and not what they meant, what was
    left of a proposal that was altered. Rows that are not finite are not known.
    """
    series, axes = episode.series, list(task.action_axes)
    commanded, grippers = series["commanded_positions"], series["gripper_command"]
    ends = np.append(first[1:], len(commanded) - 1)
    poses = [kinematics.tool_pose(commanded[int(index)]) for index in np.append(first, ends[-1])]
    moved = np.array([displacement_between(*pair)[axes] for pair in zip(poses, poses[1:], strict=False)])
    executed = np.column_stack([moved / np.array(task.action_scale), grippers[ends]])
    by_policy = series["command_source"] == CommandSource.POLICY
    altered = series.get("command_altered", np.zeros(len(by_policy), dtype=bool))
    whole = np.logical_and.reduceat(by_policy & ~altered, first)
    executed = np.where(whole[:, None], labels, executed)
    return np.clip(executed, -1.0, 1.0).astype(np.float32)


def came_to_its_end(episode: Episode, task: Task) -> bool:
    """Whether the last state of an episode is a terminal one.

    A verdict of the task's test and a stop of the safety monitor are ends. Time running out is none, whatever failure
    the test then names: from the same state, with time left, it would have gone on. The operator's switch is none.
    """
    if episode.outcome.success:
        return True
    reason = (episode.context.end_reason.split() or [""])[0].strip(":,;").lower()
    if reason in _UNJUDGED:
        return False
    elapsed = episode.outcome.evidence.get("elapsed", episode.duration)
    return reason == "safety" or elapsed < task.time_limit - 1e-6


def penalties(executed: np.ndarray, force_excess: np.ndarray, force_weight: float, jerk_weight: float) -> np.ndarray:
    """What steps (n,) cost: tool force over the budget, as a share of it, and changes of the motion from step to step.

    The change is the mean square over the axes of `executed` (n, action_size), the gripper left out.
    """
    motion = executed[:, :-1]
    change = np.square(np.diff(motion, axis=0, prepend=motion[:1])).mean(axis=1)
    return force_weight * force_excess + jerk_weight * np.nan_to_num(change)


def returns_over(
    rewards: np.ndarray, step: np.ndarray, known: np.ndarray, terminal: np.ndarray, horizon: int, discount: float
) -> Returns:
    """Returns of n rows of one episode over at most `horizon` steps.

    `rewards` (n,) of each row's own step, `step` (n,) its number, `known` (n,) whether what was done in it is known,
    `terminal` (n,) whether the episode came to its end with it. A sum stops short where a step is missing and at the
    last row of an episode that was cut off; what was done in that row led nowhere that was seen, and is not usable.
    """
    count = len(rewards)
    reward, bootstrap = np.zeros((2, count), dtype=np.float32)
    ahead, usable = np.zeros(count, dtype=np.int32), np.zeros(count, dtype=np.float32)
    leads_on = np.append(np.diff(step) == 1, False) if count else np.zeros(0, dtype=bool)
    for begin in range(count):
        if not known[begin]:
            continue
        row, share, total = begin, 1.0, 0.0
        for _ in range(horizon):
            if not (terminal[row] or leads_on[row]):
                break
            total += share * rewards[row]
            share *= discount
            usable[begin] = 1.0
            if terminal[row]:
                share = 0.0
                break
            row += 1
        if usable[begin]:
            reward[begin], bootstrap[begin], ahead[begin] = total, share, row - begin
    return Returns(reward, ahead, bootstrap, usable)
