"""What a success detector looks at in an episode: pictures, and what it is told beside them, instant by instant."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.policy.sight import IMAGE_TIMEOUT
from physai_ros.robot.state import RobotState
from physai_ros.tasks.task import Task

PERIOD = 0.1  # [s] between two glances
_EARLY = 1e-3  # [s] by which a picture may come before its time


class Glances(NamedTuple):
    """What is seen at n instants `stamps` (n,) [s].

    `images` (n, size, size, 3 a camera) uint8, `told` (n, k) float32, NaN where it is not known.
    """

    stamps: np.ndarray
    images: np.ndarray
    told: np.ndarray

    def __len__(self) -> int:
        return len(self.stamps)


@dataclass(frozen=True)
class Outlook:
    """How a detector sees a task: by which `cameras`, in pictures of `size` x `size` pixels, and what it is told.

    It is told how wide the gripper is open and what it is commanded, and of the task's features the components `told`:
    what is known of them while no object is seen, such as where the goal lies from the tool.
    """

    task: str
    cameras: tuple[str, ...] = ("scene", "wrist")
    size: int = 42
    told: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.cameras or self.size < 8:
            raise ValueError(
                f"cameras {', '.join(self.cameras) or 'none'}, pictures of {self.size} pixels; expected at least one "
                "camera and 8 pixels"
            )

    @classmethod
    def on(cls, task: Task, example: Episode, cameras: tuple[str, ...], size: int = 42) -> Outlook:
        """How a detector sees a task, given any episode of it."""
        known = np.isfinite(_unseen(task, example.state(0), np.array(example.context.goal)))
        return cls(example.context.task, cameras, size, tuple(np.flatnonzero(known).tolist()))

    @property
    def told_size(self) -> int:
        """How many numbers it is told."""
        return 2 + len(self.told)

    def tell(self, task: Task, state: RobotState, goal: np.ndarray) -> np.ndarray:
        """What it is told (told_size,) float32 in one state, given the goal (k,)."""
        features = _unseen(task, state, goal)[list(self.told)]
        return np.array([state.gripper_width, state.gripper_command, *features], dtype=np.float32)

    def look(self, pictures: dict[str, np.ndarray]) -> np.ndarray:
        """Pictures (height, width, 3) uint8 by camera as one image (size, size, 3 a camera).

        They are made small as the fusion does it, by averaging areas.
        """
        return np.concatenate([_small(pictures[name], self.size) for name in self.cameras], axis=2)

    def glances(self, episode: Episode, task: Task) -> Glances:
        """What is seen of a recorded episode, in the rhythm of the first camera but no quicker than `PERIOD`.

        Left out are instants at which a camera has been silent for too long.

        Raises:
            ValueError: the episode is of another task, or a camera saw nothing of it.
        """
        context, stamps = episode.context, episode.series["stamp"]
        if context.task != self.task:
            raise ValueError(f"episode {context.episode_id} is of task '{context.task}', expected '{self.task}'")
        for name in self.cameras:
            if name not in episode.pictures or not len(episode.pictures[name]):
                known = ", ".join(episode.pictures) or "none"
                raise ValueError(
                    f"episode {context.episode_id} has no pictures of '{name}'; its cameras: {known}: record them "
                    "(`cameras` of feedback_collector, `physai collect --cameras`), or name others"
                )
        taken, goal = [], np.array(context.goal)
        for instant in _thinned(episode.pictures[self.cameras[0]].stamps, stamps):
            shown = {name: int(episode.pictures[name].newest_at(np.array([instant]))[0]) for name in self.cameras}
            if any(
                index < 0 or instant - episode.pictures[name].stamps[index] > IMAGE_TIMEOUT
                for name, index in shown.items()
            ):
                continue
            state = episode.state(int(np.searchsorted(stamps, instant + 1e-9, side="right") - 1))
            image = self.look({name: episode.pictures[name].rgb(index) for name, index in shown.items()})
            taken.append((instant, image, self.tell(task, state, goal)))
        if not taken:
            return Glances(
                np.zeros(0),
                np.zeros((0, self.size, self.size, 3 * len(self.cameras)), dtype=np.uint8),
                np.zeros((0, self.told_size), dtype=np.float32),
            )
        instants, images, told = zip(*taken, strict=True)
        return Glances(np.array(instants), np.stack(images), np.stack(told))


def is_due(instant: float, before: float) -> bool:
    """Whether it is time for another glance at an instant [s], after the one `before`."""
    return instant - before >= PERIOD - _EARLY


def _thinned(instants: np.ndarray, stamps: np.ndarray) -> list[float]:
    """Instants within the episode's `stamps` (n,), `PERIOD` apart or more."""
    taken: list[float] = []
    for instant in instants.tolist() if len(stamps) else ():
        if stamps[0] - 1e-6 <= instant <= stamps[-1] + 1e-6 and (not taken or is_due(instant, taken[-1])):
            taken.append(instant)
    return taken


def _unseen(task: Task, state: RobotState, goal: np.ndarray) -> np.ndarray:
    """The task's features while no object is seen, NaN where they are not known then."""
    blind = copy(state)
    blind.object_poses = {item.name: np.full(7, np.nan) for item in task.objects}
    return np.asarray(task.features(blind, goal), dtype=float)


def _small(rgb: np.ndarray, size: int) -> np.ndarray:
    if rgb.shape[:2] == (size, size):
        return rgb
    import cv2  # takes a quarter of a second

    return cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA)
