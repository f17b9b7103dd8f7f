"""How far what a runtime decides is from what the network decides, and how far it may be."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from physai_ros.policy.acting import EagerDecider, SensingNetwork
from physai_ros.policy.deciding import sample_inputs
from physai_ros.policy.network import Prediction
from physai_ros.policy.registry import Policy

PARITY = 1e-5
"""Largest difference to `eager` in anything that a decision gives; a runtime that departs further is not used."""
REDUCED_BOUND = 0.02
"""The same for a runtime of reduced precision: of actions in units of the action scale, of value and of uncertainty."""
ALARM_SHIFT = 0.1
"""How far reduced precision may move the level of a calibrated alarm, whose threshold is 1."""
_PROBES = 16


class Deciding(Protocol):
    """What decides on one observation."""

    def start_episode(self) -> None:
        """Forget what was observed."""

    def predict(
        self, observation: np.ndarray, image: np.ndarray | None = None, seen: np.ndarray | None = None
    ) -> Prediction:
        """The decision."""


class Differences(NamedTuple):
    """Largest differences to `eager` over sample inputs.

    Of `actions` in units of the action scale, of `value`, of `uncertainty`, of a single feature, and `distance`
    between the features as vectors, by which the alarm's distance to its reference can change at most.
    """

    actions: float
    value: float
    uncertainty: float
    feature: float
    distance: float

    @property
    def decided(self) -> float:
        """The largest in what is decided: action, value and uncertainty."""
        return max(self.actions, self.value, self.uncertainty)

    @property
    def largest(self) -> float:
        """The largest in anything that a decision gives."""
        return max(self.decided, self.feature)


def differences(policy: Policy, acting: Deciding, seed: int = 0) -> Differences:
    """How what a runtime decides on sample inputs differs from what `eager` does; infinite where it gives no number."""
    reference = SensingNetwork(policy.network, EagerDecider(policy.network))
    generator, found = np.random.default_rng(seed), []
    for _ in range(_PROBES):
        inputs = sample_inputs(policy.manifest.architecture, generator)
        for each in (acting, reference):
            each.start_episode()
        for observation in inputs.observations[np.isfinite(inputs.observations).all(axis=1)]:
            expected = reference.predict(observation, inputs.image, inputs.seen)
            given = acting.predict(observation, inputs.image, inputs.seen)
            features = np.subtract(given.features, expected.features)
            found.append(
                (
                    np.abs(given.actions - expected.actions).max(),
                    abs(given.value - expected.value),
                    abs(given.uncertainty - expected.uncertainty),
                    np.abs(features).max(),
                    np.linalg.norm(features),
                )
            )
    acting.start_episode()
    largest = np.max(found, axis=0)
    return Differences(*np.where(np.isfinite(largest), largest, np.inf).tolist())


def objection(policy: Policy, found: Differences, *, reduced: bool) -> str:
    """Why what differs so may not act for a policy; empty where it may.

    Under reduced precision a calibrated alarm must mean what it meant: by the triangle inequality its distances move by
    no more than the features do, and its jump by no more than two actions do.
    """
    if not reduced:
        if found.largest <= PARITY:
            return ""
        return f"departs by {found.largest:.2g} from the policy, at most {PARITY:g} is allowed"
    if not found.decided <= REDUCED_BOUND:
        return f"departs by {found.decided:.2g} from the policy, at most {REDUCED_BOUND:g} is allowed"
    if policy.alarm is None:
        return ""
    scores = np.array([found.distance, found.uncertainty, 2.0 * found.actions])
    shift = float((scores / policy.alarm.scales).max()) / policy.alarm.threshold
    if shift <= ALARM_SHIFT:
        return ""
    return f"may move the level of the policy's alarm by {shift:.2g}, at most {ALARM_SHIFT:g} is allowed"
