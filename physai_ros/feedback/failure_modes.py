"""Why an episode failed: one typed mode, the rule that decided it, its evidence and how sure it is.

The rules are tried in this order; the first that applies decides. They read what a real driver supplies.

| rule | mode | applies when |
|---|---|---|
| success | none | the task's test or a person says success |
| cut_off | unknown | the recording was cut off by a crash: nobody saw the end |
| operator | operator_abort | the episode was ended by an operator |
| force_stop | collision | the safety monitor stopped the arm within 0.5 s of a force over the task's budget |
| stop | safety_stop | the safety monitor stopped the arm and it stayed stopped, or the episode ended for safety |
| task_test | as it says | the task's test, which knows the goal, named a cause other than time-out and unknown |
| force | collision | the tool force was over the task's budget for 50 ms |
| lost_high | drop | a held object was lost, the fingers still closing, at least 2 cm above where it was grasped |
| lost_low | unstable_grasp | the same, nearer to where it was grasped |
| time | timeout | time ran out, and none of the above |
| nothing | unknown | none of the above |
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.feedback.metrics import contact_profile
from physai_ros.robot.command import CommandSource
from physai_ros.tasks.task import FAILURE_MODES

COLLISION_TIME = 0.05  # [s] over budget
STOP_AFTER_FORCE = 0.5  # [s]
HOLDING_FORCE = 1.0  # [N] that held objects press on every pad with
HOLDING_WIDTH = 0.005  # [m] below which there is nothing between the pads
HOLDING_TIME = 0.1  # [s] that makes a grasp
LIFTED = 0.02  # [m] above the grasp


@dataclass(frozen=True)
class FailureVerdict:
    """One of `FAILURE_MODES`, the `rule` behind it, named measurements in SI units, `confidence` in 0 ... 1."""

    mode: str
    rule: str
    confidence: float
    evidence: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Loss:
    stamp: float
    height: float


def classify_failure(episode: Episode, force_budget: float) -> FailureVerdict:
    """Verdict on an episode of a task that allows `force_budget` [N]; every episode gets one."""
    outcome, series = episode.outcome, episode.series
    reason = (episode.context.end_reason.split() or [""])[0].strip(":,;").lower()
    if outcome.success:
        return FailureVerdict("none", "success", 1.0, dict(outcome.evidence))
    if not episode.complete:
        return FailureVerdict("unknown", "cut_off", 1.0, {"samples": float(len(episode))})
    if reason == "operator":
        return FailureVerdict("operator_abort", "operator", 1.0, {"duration": episode.duration})
    stamps = series["stamp"]
    force = np.linalg.norm(series["wrench"].reshape(-1, 6)[:, :3], axis=1)
    stopped = _stopped(episode, reason)
    if stopped is not None:
        return _stop_verdict(stopped, stamps, force, force_budget)
    if outcome.failure_mode in FAILURE_MODES and outcome.failure_mode not in ("none", "unknown", "timeout"):
        return FailureVerdict(outcome.failure_mode, "task_test", 0.95, dict(outcome.evidence))
    contact = contact_profile(stamps, series["wrench"].reshape(-1, 6)[:, :3], force_budget)
    if contact.time_over_budget >= COLLISION_TIME:
        sure = min(0.95, 0.6 + 0.35 * min(1.0, contact.peak / force_budget - 1.0))
        evidence = {"peak_force": contact.peak, "time_over_budget": contact.time_over_budget, "budget": force_budget}
        return FailureVerdict("collision", "force", sure, evidence)
    loss = _last_loss(episode)
    if loss is not None:
        # The nearer to the border between the two modes, the less sure.
        sure = 0.5 + 0.4 * min(1.0, abs(loss.height - LIFTED) / LIFTED)
        evidence = {"height_above_grasp": loss.height, "lost_at": loss.stamp - float(stamps[0])}
        high = loss.height >= LIFTED
        return FailureVerdict("drop" if high else "unstable_grasp", "lost_high" if high else "lost_low", sure, evidence)
    if outcome.failure_mode == "timeout" or reason == "timeout":
        return FailureVerdict("timeout", "time", 0.9, {"duration": episode.duration} | dict(outcome.evidence))
    return FailureVerdict("unknown", "nothing", 0.5, {"duration": episode.duration} | dict(outcome.evidence))


def _stopped(episode: Episode, reason: str) -> float | None:
    """Instant [s] of the stop that the episode ended in."""
    stop = episode.series["command_source"] == CommandSource.STOP
    stamps = episode.series["stamp"]
    moving = np.flatnonzero(~stop)
    if len(stop) and stop[-1]:
        return float(stamps[moving[-1] + 1 if len(moving) else 0])
    if reason == "safety":
        return float(stamps[np.flatnonzero(stop)[0]] if stop.any() else stamps[-1]) if len(stamps) else 0.0
    return None


def _stop_verdict(stopped: float, stamps: np.ndarray, force: np.ndarray, budget: float) -> FailureVerdict:
    before = (stamps >= stopped - STOP_AFTER_FORCE) & (stamps <= stopped + 0.02)
    peak = float(np.nanmax(force[before], initial=0.0))
    evidence = {"stopped_at": stopped - float(stamps[0]) if len(stamps) else 0.0, "peak_force_before": peak}
    if peak > budget:
        return FailureVerdict("collision", "force_stop", 0.8, evidence | {"budget": budget})
    return FailureVerdict("safety_stop", "stop", 0.95, evidence)


def _last_loss(episode: Episode) -> _Loss | None:
    """The last time that a grasped object got lost while the fingers were told to hold it, unless it was regained."""
    series = episode.series
    stamps, closing = series["stamp"], series["gripper_command"] < 0
    pads = series["contact_forces"]
    pressed = pads.min(axis=1) > HOLDING_FORCE if pads.shape[1] else series["gripper_force"] > HOLDING_FORCE
    holding = closing & pressed & (series["gripper_width"] > HOLDING_WIDTH)
    if not holding.any():
        return None
    edges = np.flatnonzero(np.diff(np.concatenate([[0], holding.astype(np.int8), [0]])))
    loss = None
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if stamps[end - 1] - stamps[begin] < HOLDING_TIME:
            continue
        # Told to open means that it was let go on purpose.
        lost = end < len(stamps) and bool(closing[end])
        height = float(series["ee_position"][end - 1, 2] - series["ee_position"][begin, 2])
        loss = _Loss(float(stamps[end]), height) if lost else None
    return loss
