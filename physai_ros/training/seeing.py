"""The shape of a policy that sees, for a task and its cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.policy.encoder import EncoderShape
from physai_ros.tasks.task import Task


@dataclass(frozen=True)
class Eyes:
    """What a policy sees by: `cameras` by name, none for a policy that does not; pictures of `size` x `size` pixels.

    It does not look at what it is `blind_to` of the vector: `task`, where objects are. Of that it is told what is known
    while no object is seen, the goal.
    """

    cameras: tuple[str, ...] = ()
    size: int = 84
    blind_to: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 8:
            raise ValueError(f"pictures of {self.size} pixels: expected at least 8")
        if self.blind_to and not self.cameras:
            raise ValueError(f"blind to {', '.join(self.blind_to)} without a camera: name the cameras to see by")

    def senses(self, task: Task, example: Episode) -> EncoderShape | None:
        """How such a policy divides its senses, given any episode of the task; None where it does not see."""
        if not self.cameras:
            return None
        state, goal = example.state(0), np.array(example.context.goal)
        # What is told must not depend on where objects are: it is what is known when none is seen.
        state.object_poses = {name: np.full(7, np.nan) for name in state.object_poses}
        known = np.isfinite(task.features(state, goal))
        return EncoderShape.of_observation(
            len(known),
            len(task.action_axes),
            (self.size, self.size, 3 * len(self.cameras)),
            cameras=self.cameras,
            blind_to=self.blind_to,
            # The measured tool's features, then the commanded one's.
            told=tuple(np.flatnonzero(np.tile(known, 2)).tolist()) if "task" in self.blind_to else (),
        )
