"""What an alarm is worth: false alarms on fresh successes against the rate that was set, and failures it notices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from physai_ros.evaluation.alarm_calibration import DecisionReader, levels_of
from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_of
from physai_ros.evaluation.statistics import Interval, clopper_pearson
from physai_ros.policy.alarm import Alarm
from physai_ros.policy.network import Prediction
from physai_ros.policy.registry import Policy
from physai_ros.robot.cartesian_reference import CYCLES_PER_STEP
from physai_ros.simulation.physics import SHIFTED_ARM, PhysicsParameters

NOMINAL = "nominal"
CASES: dict[str, PhysicsParameters] = {
    NOMINAL: PhysicsParameters(),
    "shifted arm": SHIFTED_ARM,
    "camera 30 mm off": PhysicsParameters(calibration_x=0.03),
    "servos late": PhysicsParameters(actuator_delay=0.15, actuator_gain=0.5),
    "slippery, heavy": PhysicsParameters(object_friction=0.25, object_mass_scale=4.0),
}
"""Arms that a study runs on: the one that the alarm is calibrated on, and some that it never saw."""


@dataclass(frozen=True)
class StudyEpisode:
    """One episode: which arm (`case`), what came of it, and the policy's decisions."""

    case: str
    scenario_seed: int
    success: bool
    failure_mode: str
    duration: float
    decisions: tuple[Prediction, ...]


@dataclass(frozen=True)
class Share:
    """How many of how many, with the 95 % interval of Clopper and Pearson."""

    count: int
    total: int

    @property
    def rate(self) -> float:
        """The share; NaN of none."""
        return self.count / self.total if self.total else float("nan")

    @property
    def interval(self) -> Interval:
        """Its 95 % interval."""
        return clopper_pearson(self.count, self.total)


@dataclass(frozen=True)
class CaseResult:
    """Alarms on one arm; `lead_time` is the median time from the first alarm to the end of a failed episode [s]."""

    case: str
    success: Share
    alarms_on_success: Share
    alarms_on_failure: Share
    lead_time: float
    causes: Mapping[str, int]

    def row(self) -> dict[str, Any]:
        """Flat, as `--json` writes it."""
        alarms = Share(
            self.alarms_on_success.count + self.alarms_on_failure.count,
            self.alarms_on_success.total + self.alarms_on_failure.total,
        )
        row: dict[str, Any] = {"case": self.case, "lead_time": self.lead_time}
        parts = {"success": self.success, "alarms": alarms}
        parts |= {"alarms_on_success": self.alarms_on_success, "alarms_on_failure": self.alarms_on_failure}
        for name, share in parts.items():
            lower, upper = share.interval
            row |= {name: share.rate, f"{name}_lower": lower, f"{name}_upper": upper, f"{name}_of": share.total}
        return row | {f"by_{cause}": count for cause, count in self.causes.items()}


def run_case(
    rollout: Rollout, policy: Policy, case: str, seeds: Sequence[int], on_episode: Callable[[], None] = lambda: None
) -> list[StudyEpisode]:
    """Episodes of the scenarios of `seeds` on the arm of a case, driven with the alarm that the policy has."""
    reader = DecisionReader(policy, rollout.task, rollout.arm.kinematics)
    rollout.runtime.policy = policy
    episodes = []
    for seed in seeds:
        episode = rollout.run(scenario_of(rollout.task, seed), seed, physics=CASES[case])
        decisions = tuple(reader.decisions(episode))
        outcome = episode.outcome
        episodes.append(StudyEpisode(case, seed, outcome.success, outcome.failure_mode, episode.duration, decisions))
        on_episode()
    return episodes


def judge_case(alarm: Alarm, episodes: Sequence[StudyEpisode], policy_step: float) -> CaseResult:
    """What an alarm says of the episodes of one case; `policy_step` [s] is the time from decision to decision."""
    counts = {True: [0, 0], False: [0, 0]}
    leads, causes = [], {}
    for episode in episodes:
        levels = levels_of(alarm, episode.decisions)
        first = levels.first_alarm
        counts[episode.success][0] += first is not None
        counts[episode.success][1] += 1
        if first is None:
            continue
        causes[levels.causes[first]] = causes.get(levels.causes[first], 0) + 1
        if not episode.success:
            leads.append(episode.duration - first * policy_step)
    return CaseResult(
        case=episodes[0].case,
        success=Share(counts[True][1], len(episodes)),
        alarms_on_success=Share(*counts[True]),
        alarms_on_failure=Share(*counts[False]),
        lead_time=float(np.median(leads)) if leads else float("nan"),
        causes=causes,
    )


def policy_step(rollout: Rollout) -> float:
    """Time from decision to decision [s]."""
    return CYCLES_PER_STEP * rollout.spec.control_period
