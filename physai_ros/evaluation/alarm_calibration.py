"""Calibrating the alarm of a policy on episodes that it solved, to a share of false alarms that the user sets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import stats

from physai_ros.evaluation.statistics import Interval
from physai_ros.experience.episode import Episode
from physai_ros.policy.alarm import SCORES, Alarm, AlarmWatch
from physai_ros.policy.network import Prediction
from physai_ros.policy.observation import ObservationEncoder
from physai_ros.policy.registry import Policy
from physai_ros.robot.action import ALARM_LEVEL
from physai_ros.robot.cartesian_reference import CYCLES_PER_STEP
from physai_ros.robot.command import CommandSource
from physai_ros.robot.kinematics import Kinematics
from physai_ros.tasks.task import Task

_REFERENCE_ROWS = 2048  # beyond which the nearest one is hardly nearer, and looking for it takes longer


class CalibrationError(ValueError):
    """An alarm cannot be calibrated on these episodes; the message says what is missing."""


class Levels(NamedTuple):
    """Levels (n,) of an alarm over an episode's decisions, and which score each comes from."""

    levels: np.ndarray
    causes: tuple[str, ...]

    @property
    def first_alarm(self) -> int | None:
        """Index of the first decision with an alarm, None where there is none."""
        raised = np.flatnonzero(self.levels > ALARM_LEVEL)
        return int(raised[0]) if len(raised) else None


class DecisionReader:
    """Takes a recorded episode's decisions again, as the runtime took them."""

    def __init__(self, policy: Policy, task: Task, kinematics: Kinematics) -> None:
        self._policy = policy
        self._task = task
        self._encoder = ObservationEncoder(kinematics, task.features, task.action_axes, task.action_scale)

    def why_not(self, episode: Episode) -> str:
        """Why an episode is none that this policy solved alone; empty where it is."""
        context = episode.context
        if context.task != self._task.name:
            return f"of task '{context.task}'"
        if context.policy_version != self._policy.version:
            return f"driven by {context.policy_version or 'a person'}"
        if not episode.outcome.success:
            return "failed"
        if (episode.series["command_source"] == CommandSource.OPERATOR).any():
            return "helped by an operator"
        if not episode.complete:
            return "not complete"
        return ""

    def decisions(self, episode: Episode) -> list[Prediction]:
        """The policy's decision at the first recorded state of every policy step."""
        steps = (episode.series["sequence"].astype(np.int64) - episode.context.start_sequence) // CYCLES_PER_STEP
        first = np.flatnonzero((steps >= 0) & (np.diff(steps, prepend=-1) > 0))
        goal = np.array(episode.context.goal)
        self._encoder.reset()
        return [self._policy.predict(self._encoder.encode(episode.state(int(row)), goal)) for row in first]


def levels_of(alarm: Alarm, decisions: Iterable[Prediction]) -> Levels:
    """Levels of an alarm over the decisions of one episode."""
    watch = AlarmWatch(alarm)
    pairs = [(watch.update(decision), watch.cause) for decision in decisions]
    return Levels(np.array([level for level, _ in pairs]), tuple(cause for _, cause in pairs))


def conformal_threshold(maxima: Sequence[float], false_alarm_rate: float) -> float:
    """Threshold that the largest score of a further, exchangeable episode exceeds with at most this probability.

    The ceil((n + 1) (1 - rate))-th smallest of the n `maxima`: split conformal prediction (Vovk et al., "Algorithmic
    learning in a random world", 2005) of an episode's largest score, as failure detectors for imitation policies use it
    (Xu et al., "Can we detect failures without failure data?", 2025; Roemer et al., "Failure prediction at runtime for
    generative robot policies", 2025).

    Raises:
        CalibrationError: there are too few episodes for the rate.
    """
    count = len(maxima)
    rank = calibration_rank(count, false_alarm_rate)
    if rank > count:
        raise CalibrationError(
            f"{count} calibration episodes cannot hold a false-alarm rate of {false_alarm_rate:g}; it takes "
            f"{math.ceil(1.0 / false_alarm_rate - 1.0 - 1e-9)}, or a rate of at least {1.0 / (count + 1.0):.3g}"
        )
    return float(np.sort(np.asarray(maxima, dtype=float))[rank - 1])


def calibration_rank(count: int, false_alarm_rate: float) -> int:
    """Which of `count` sorted maxima is the threshold, from 1; beyond `count` where they are too few."""
    if not 0.0 < false_alarm_rate < 1.0:
        raise CalibrationError(f"the false-alarm rate is {false_alarm_rate!r}; expected a number between 0 and 1")
    return math.ceil((count + 1) * (1.0 - false_alarm_rate) - 1e-9)


def rate_interval(count: int, false_alarm_rate: float, confidence: float = 0.95) -> Interval:
    """Range of the rate that one calibration on `count` episodes ends up with; the rate set is its upper mean.

    The conformal guarantee is an average over calibrations; the rate of a single one is Beta distributed
    (Vovk, "Conditional validity of inductive conformal predictors", 2012), here for scores without ties.
    """
    rank = calibration_rank(count, false_alarm_rate)
    tail = (1.0 - confidence) / 2.0
    low, high = stats.beta.ppf([tail, 1.0 - tail], count + 1 - rank, rank)
    return Interval(float(low), float(high))


def calibrate(
    policy: Policy, episodes: Sequence[Sequence[Prediction]], false_alarm_rate: float, seed: int = 0
) -> Alarm:
    """An alarm from the decisions of episodes that the policy solved alone.

    A third of them, drawn by `seed`, are the reference: what the policy knows, and how large scores are there. The
    others set the threshold, and take no part in the reference, or the guarantee would be lost.

    Raises:
        CalibrationError: there are too few episodes for the rate.
    """
    order = np.random.default_rng([seed, 0xA1]).permutation(len(episodes))
    split = max(2, len(episodes) // 3)
    known, rest = ([episodes[i] for i in part if len(episodes[i])] for part in (order[:split], order[split:]))
    rank = calibration_rank(len(rest), false_alarm_rate)
    if rank > len(rest):
        needed = math.ceil(1.5 * math.ceil(1.0 / false_alarm_rate - 1.0 - 1e-9)) + 1
        raise CalibrationError(
            f"{len(episodes)} successful episodes are too few for a false-alarm rate of {false_alarm_rate:g}; it takes "
            f"about {needed}: run more, or set a higher rate"
        )
    rows = [np.array([decision.features for decision in episode]) for episode in known]
    draft = Alarm(
        reference=_thinned(np.concatenate(rows)),
        scales=np.ones(len(SCORES)),
        threshold=1.0,
        false_alarm_rate=false_alarm_rate,
        reference_episodes=len(known),
        calibration_episodes=len(rest),
        weights_sha256=policy.manifest.sha256,
    )
    draft = replace(draft, scales=_scales(draft, known, rows))
    maxima = [float(levels_of(draft, episode).levels.max()) for episode in rest]
    return replace(draft, threshold=conformal_threshold(maxima, false_alarm_rate))


def _scales(draft: Alarm, known: list[Sequence[Prediction]], rows: list[np.ndarray]) -> np.ndarray:
    """Median over the reference episodes of each score's largest value; an episode is not compared with itself."""
    largest = []
    for index, episode in enumerate(known):
        others = np.concatenate([part for other, part in enumerate(rows) if other != index])
        watch = AlarmWatch(replace(draft, reference=_thinned(others)))
        scores = np.zeros(len(SCORES))
        for decision in episode:
            watch.update(decision)
            scores = np.maximum(scores, watch.scores)
        largest.append(scores)
    scales = np.median(largest, axis=0)
    # A score that is zero throughout, such as the jump of chunks of one step, has no size and raises no alarm.
    return np.where(scales > 0, scales, 1.0)


def _thinned(rows: np.ndarray) -> np.ndarray:
    if len(rows) <= _REFERENCE_ROWS:
        return rows
    return rows[np.linspace(0, len(rows) - 1, _REFERENCE_ROWS).astype(int)]
