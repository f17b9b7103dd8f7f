"""Conditions of a trial, which follow from its seed: nominal, with randomized physics, or under stress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from physai_ros.evaluation.scenario_sets import index_of_seed, set_of_seed
from physai_ros.tasks.task import Task

RANDOMIZED: dict[str, tuple[float, float]] = {
    "object_mass_scale": (0.5, 2.0),
    "object_friction": (0.6, 1.4),
    "joint_friction": (0.0, 1.0),
    "joint_damping": (0.6, 2.0),
    "actuator_gain": (0.8, 1.2),
    "actuator_delay": (0.0, 0.04),
    "calibration_x": (-0.005, 0.005),
    "calibration_y": (-0.005, 0.005),
    "encoder_noise": (0.0, 0.003),
    "object_noise": (0.0, 0.002),
}
"""Physics parameter -> bounds between which the set `randomized` draws it; units as in `ROBOT_SIM_PARAMS`."""


@dataclass(frozen=True)
class Push:
    """A horizontal `force` (2,) [N] on the hand from `start` [s] of the episode on, for `duration` [s]."""

    start: float
    duration: float
    force: tuple[float, float]


@dataclass(frozen=True)
class Condition:
    """What a trial changes: `physics` by name, spans of time [s] in which objects are not seen, and pushes."""

    name: str = "nominal"
    physics: Mapping[str, float] = field(default_factory=dict)
    occlusions: tuple[tuple[float, float], ...] = ()
    pushes: tuple[Push, ...] = ()

    def sees_objects(self, elapsed: float) -> bool:
        """Whether objects are seen so long [s] into the episode."""
        return not any(start <= elapsed < end for start, end in self.occlusions)

    def force_at(self, elapsed: float) -> tuple[float, float]:
        """Horizontal force (2,) [N] on the hand so long [s] into the episode."""
        active = [push.force for push in self.pushes if push.start <= elapsed < push.start + push.duration]
        return sum(force[0] for force in active), sum(force[1] for force in active)


NOMINAL = Condition()


def stresses_of(task: Task) -> tuple[str, ...]:
    """Kinds of stress that mean something for a task, in the order in which trials take turns."""
    return ("latency", "noise", "occlusion", "push") if task.objects else ("latency", "noise", "push")


def condition_of(task: Task, scenario_seed: int) -> Condition:
    """The condition of a trial: nominal, but for seeds of the sets `randomized` and `stress`."""
    name = set_of_seed(scenario_seed)
    generator = np.random.default_rng([scenario_seed, 0xC0])
    if name == "randomized":
        values = {key: float(generator.uniform(low, high)) for key, (low, high) in RANDOMIZED.items()}
        return Condition("randomized", values)
    if name != "stress":
        return NOMINAL
    kinds = stresses_of(task)
    return _STRESS[kinds[index_of_seed(scenario_seed) % len(kinds)]](task, generator)


def _latency(_task: Task, generator: np.random.Generator) -> Condition:
    return Condition("latency", {"actuator_delay": float(generator.uniform(0.06, 0.12))})


def _noise(_task: Task, generator: np.random.Generator) -> Condition:
    bounds = {"encoder_noise": (0.004, 0.008), "object_noise": (0.003, 0.006), "force_noise": (0.5, 1.5)}
    return Condition("noise", {name: float(generator.uniform(low, high)) for name, (low, high) in bounds.items()})


def _occlusion(_task: Task, generator: np.random.Generator) -> Condition:
    starts = generator.uniform([0.5, 3.0], [2.0, 5.0])
    return Condition("occlusion", occlusions=tuple((float(s), float(s + generator.uniform(0.4, 1.0))) for s in starts))


def _push(task: Task, generator: np.random.Generator) -> Condition:
    """Below the task's force budget: a push that is itself a reason to stop would tell nothing of the policy."""
    angle, size = generator.uniform(0.0, 2.0 * np.pi), generator.uniform(0.3, 0.6) * task.force_budget
    start, duration = generator.uniform(0.5, 0.4 * task.time_limit), generator.uniform(0.15, 0.3)
    force = (float(size * np.cos(angle)), float(size * np.sin(angle)))
    return Condition("push", pushes=(Push(float(start), float(duration), force),))


_STRESS = {"latency": _latency, "noise": _noise, "occlusion": _occlusion, "push": _push}
