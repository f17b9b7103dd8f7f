"""What a policy masters in the simulator already: there it tries a scenario before an episode is spent on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from physai_ros.evaluation.bare_rollout import BareRollout
from physai_ros.policy.runtime import ActingPolicy
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.tasks.task import Task


class Rehearsal:
    """Tries scenarios by what `driving` gives, the policy in force by then; `tried` counts them.

    The simulator is the nominal one, or has the `physics` that it is given.
    """

    def __init__(
        self,
        spec: RobotSpec,
        task: Task,
        driving: Callable[[], ActingPolicy | None],
        seed: int,
        physics: PhysicsParameters | None = None,
    ) -> None:
        self._bare = BareRollout(spec, task, physics)
        self._task = task
        self._driving = driving
        self._generator = np.random.default_rng([seed, 0x4E])
        self.tried = 0

    def __call__(self, parameters: dict[str, float]) -> bool:
        """Whether the policy succeeds in the scenario of these parameters; without a policy nothing does."""
        policy = self._driving()
        if policy is None:
            return False
        self.tried += 1
        return self._bare.succeeds(policy, self._task.scenario(parameters), int(self._generator.integers(2**31)))
