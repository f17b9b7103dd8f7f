"""Why an episode failed: one typed mode, the rule that decided it, its evidence and how sure it is.

The rules are tried in this order; the first that applies decides. They read what a real driver supplies.

| rule | mode | applies when |
|---|---|---|
| success | none | the task's test or a person says success |
| cut_off | unknown | the recording was cut off by a crash: nobody saw the end |
| operator | operator_abort | the episode was ended by an operator |
| force_stop | collision | the safety monitor stopped the arm within 0.5 s of a force over the task's budget |
| stop | safety_stop | the safety monitor stopped the arm for at least the last 0.1 s, or the episode ended for safety |
| task_test | as it says | the task's test, which knows the goal, named a cause other than time-out and unknown |
| force | collision | the tool force was over the task's budget for 50 ms |
| lost_high | drop | a held object was lost, the fingers still closing, with the tool at least 4.5 cm above the grasp |
| lost_low | unstable_grasp | the same, with the tool nearer to where it grasped |
| blocked | planning_failure | in the last 1.5 s most commands were altered, and less than half the way asked for gone |
| time | timeout | time ran out, and none of the above |
| nothing | unknown | none of the above |

An object is held while the fingers are told to close and stand still with something between them: pads that feel it say
so at once, a hand without any is believed by its opening. What slips out of the fingers while it still lies on the
table leaves them within the length of the pads, so a loss farther up is that of something carried. The thresholds were
set on the nominal simulated arm, the rules for stops, re-grasps and blocked ways by what was wrong on some others;
`physai bench classification` says how often they are right on arms that were not looked at.
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
STAYS_STOPPED = 0.1  # [s] at the end; a piece of a verified stop is also played where a step found no other way
HOLDING_FORCE = 1.0  # [N] that held objects press on every pad with
HOLDING_WIDTH = 0.005  # [m] below which there is nothing between the pads
HOLDING_TIME = 0.1  # [s] that makes a grasp
STANDING = 0.0015  # [m] that the fingers' opening may change within HOLDING_TIME while they hold
LOST_WIDTH = 0.003  # [m] that the fingers close further when what they held is gone
LIFTED = 0.045  # [m] of the tool above the grasp: pads of 2 cm, and what the arm goes until it is noticed
BLOCKED_TIME = 1.5  # [s] at the end
BLOCKED_SHARE = 0.5  # of the way asked for
ALTERED_SHARE = 0.5  # of commands
LEAST_ASKED = 0.05  # [m] of way asked for within BLOCKED_TIME
POLICY_STEP = 0.1  # [s] that one intent spans


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
    blocked = _blocked(episode)
    if blocked is not None:
        return blocked
    if outcome.failure_mode == "timeout" or reason == "timeout":
        return FailureVerdict("timeout", "time", 0.9, {"duration": episode.duration} | dict(outcome.evidence))
    return FailureVerdict("unknown", "nothing", 0.5, {"duration": episode.duration} | dict(outcome.evidence))


def _stopped(episode: Episode, reason: str) -> float | None:
    """Instant [s] of the stop that the episode ended in."""
    stop = episode.series["command_source"] == CommandSource.STOP
    stamps = episode.series["stamp"]
    moving = np.flatnonzero(~stop)
    first = moving[-1] + 1 if len(moving) else 0
    if first < len(stop) and stamps[-1] - stamps[first] >= STAYS_STOPPED:
        return float(stamps[first])
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


def count_grasps(episode: Episode) -> int:
    """How often the fingers closed on something."""
    series = episode.series
    if not len(episode):
        return 0
    held = _held(episode)
    return sum(_first_grasp(series["stamp"], held, *run) is not None for run in _runs(series["gripper_command"] < 0))


def _last_loss(episode: Episode) -> _Loss | None:
    """The last time that a grasped object got lost with the fingers told to hold it, unless it was carried again."""
    series = episode.series
    stamps, width, height = series["stamp"], series["gripper_width"], series["ee_position"][:, 2]
    if not len(stamps):
        return None
    held = _held(episode)
    loss = None
    for begin, end in _runs(series["gripper_command"] < 0):
        start = _first_grasp(stamps, held, begin, end)
        if start is None:
            continue
        # Fingers that are blocked may still give way a little; what they held it is that they stood at.
        stood = float(np.median(width[start : start + 5]))
        gone = np.flatnonzero(width[start:end] < stood - LOST_WIDTH)
        pads = episode.series["contact_forces"].shape[1] > 0
        if pads:
            gone = np.flatnonzero(~held[start:end]) if gone.size else gone
        if not gone.size:
            # Held to the end, or let go on purpose; it makes good for a loss only where the object came along.
            if np.max(height[start:end]) - height[start] >= LIFTED:
                loss = None
            continue
        first = start + int(gone[0])
        before = (
            start + int(np.flatnonzero(width[start:first] > stood - 0.5 * LOST_WIDTH)[-1]) if not pads else first - 1
        )
        loss = _Loss(float(stamps[first]), float(height[before] - height[start]))
    return loss


def _held(episode: Episode) -> np.ndarray:
    """Whether there is something between the fingers (n,).

    Pads or grip force tell where they are sensed, else the opening at which the fingers stand still.
    """
    series = episode.series
    wide = series["gripper_width"] > HOLDING_WIDTH
    pads, force = series["contact_forces"], series["gripper_force"]
    if pads.shape[1]:
        return wide & (pads.min(axis=1) > HOLDING_FORCE)
    if np.isfinite(force).all() and (force > HOLDING_FORCE).any():
        return wide & (force > HOLDING_FORCE)
    stamps, width = series["stamp"], series["gripper_width"]
    before = np.searchsorted(stamps, stamps - HOLDING_TIME - 1e-6)
    standing = wide & (np.abs(width - width[before]) < STANDING)
    for begin, end in _runs(series["gripper_command"] < 0):
        # Fingers that were only just told to close stand still, too.
        standing[
            begin : min(end, begin + int(np.searchsorted(stamps[begin:end] - stamps[begin], 2 * HOLDING_TIME)))
        ] = False
    return standing


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """First and one-past-last index of every run of true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _first_grasp(stamps: np.ndarray, held: np.ndarray, begin: int, end: int) -> int | None:
    """Where, while the fingers close from `begin` to `end`, a grasp begins that lasts; None where none does."""
    for first, last in _runs(held[begin:end]):
        if stamps[begin + last - 1] - stamps[begin + first] >= HOLDING_TIME:
            return begin + first
    return None


def _blocked(episode: Episode) -> FailureVerdict | None:
    """Verdict on an episode at whose end the arm was asked to move and not permitted to; None where it was not so."""
    series = episode.series
    stamps = series["stamp"]
    if not len(stamps) or stamps[-1] - stamps[0] < BLOCKED_TIME:
        return None
    last = stamps > stamps[-1] - BLOCKED_TIME
    period = BLOCKED_TIME / last.sum()
    asked = float(np.linalg.norm(series["action_ee_delta"][last, :3], axis=1).sum()) * period / POLICY_STEP
    tool = series["ee_position"][last]
    went = float(np.linalg.norm(tool[-1] - tool[0]))
    altered = float(series["command_altered"][last].mean())
    if asked < LEAST_ASKED or went > BLOCKED_SHARE * asked or altered < ALTERED_SHARE:
        return None
    evidence = {"way_asked": asked, "way_gone": went, "altered_share": altered}
    return FailureVerdict("planning_failure", "blocked", 0.5 + 0.4 * altered, evidence)
