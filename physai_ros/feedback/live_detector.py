"""A success detector that watches the episode that runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from physai_ros.feedback.glances import is_due
from physai_ros.feedback.success_detector import SuccessDetector, SuccessWatch
from physai_ros.policy.sight import IMAGE_TIMEOUT
from physai_ros.robot.state import RobotState
from physai_ros.tasks.task import Task


class LiveDetector:
    """Takes pictures as they come and says when an episode has succeeded; what was exposed before it does not count."""

    def __init__(self, detector: SuccessDetector, task: Task) -> None:
        self.detector = detector
        self._task = task
        self.begin((), 0.0)

    def begin(self, goal: tuple[float, ...], instant: float) -> None:
        """An episode with this goal (k,) begins at an instant [s]."""
        self._goal = np.array(goal, dtype=float)
        self._start = instant - 1e-6
        self._looked = -np.inf
        self._pictures: dict[str, tuple[float, np.ndarray]] = {}
        self._watch = SuccessWatch(self.detector)
        self.p_value = 1.0

    def takes(self, pictures: Mapping[str, tuple[float, np.ndarray]]) -> bool:
        """Take in pictures (height, width, 3) uint8 by camera with their instants [s]; whether it is time for a glance.

        It is where every camera has just shown something, and the glance before is long enough ago.
        """
        cameras = self.detector.outlook.cameras
        for name, (stamp, rgb) in pictures.items():
            if name in cameras and stamp >= self._start:
                self._pictures[name] = stamp, rgb
        stamps = [self._pictures[name][0] for name in cameras if name in self._pictures]
        if len(stamps) < len(cameras) or max(stamps) - min(stamps) > IMAGE_TIMEOUT:
            return False
        return is_due(stamps[0], self._looked)

    def look(self, state: RobotState) -> bool:
        """Whether the episode has succeeded, after one more glance, in this state of the arm."""
        outlook = self.detector.outlook
        self._looked = self._pictures[outlook.cameras[0]][0]
        image = outlook.look({name: self._pictures[name][1] for name in outlook.cameras})
        self.p_value = self._watch.look(image, outlook.tell(self._task, state, self._goal))
        return self.p_value <= self.detector.rate
