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

    It does not look at what it is `blind_to` of the vector: `task`, where objects are.
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
        features = len(task.features(example.state(0), np.array(example.context.goal)))
        image = (self.size, self.size, 3 * len(self.cameras))
        axes = len(task.action_axes)
        return EncoderShape.of_observation(features, axes, image, cameras=self.cameras, blind_to=self.blind_to)
