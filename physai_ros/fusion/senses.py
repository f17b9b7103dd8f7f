"""All that is sensed, as it comes, and the state that is made of it at every joint sample."""

from __future__ import annotations

import numpy as np

from physai_ros.fusion.camera_timeline import CameraTimeline
from physai_ros.fusion.joint_sources import JointSources
from physai_ros.fusion.state_fuser import CLOCK_TOLERANCE, StateFuser
from physai_ros.fusion.tactile import TactilePads
from physai_ros.fusion.wrist import WristSensor
from physai_ros.robot.state import DriverState, ObjectStates, RobotState, is_overtaken

_AGAIN = 1.0  # [s] further back than which objects are of a clock that started again


class Senses:
    """A driver's joint sample makes a state of its own instant; one that comes again or was overtaken makes none.

    In lock-step sample and objects of one instant come on two topics: whichever comes last makes the state, so that
    every run is alike. Else the newest objects count, and older ones that come later do not. What else is sensed goes
    to `wrist`, `joints`, `tactile`, `colour` and `depth` by itself, on its own stamps; `fuser` may be another from one
    state to the next.
    """

    def __init__(
        self,
        fuser: StateFuser,
        *,
        wrist: WristSensor | None = None,
        joints: JointSources | None = None,
        tactile: TactilePads | None = None,
        colour: CameraTimeline | None = None,
        depth: CameraTimeline | None = None,
    ) -> None:
        self.fuser = fuser
        self.wrist, self.joints, self.tactile, self.colour, self.depth = wrist, joints, tactile, colour, depth
        self.reset()

    def reset(self) -> None:
        """Forget all that was sensed."""
        for sense in (self.fuser, self.wrist, self.joints, self.tactile, self.colour, self.depth):
            if sense is not None:
                sense.reset()
        self._objects: ObjectStates | None = None
        self._waiting: DriverState | None = None
        self._newest = -1
        self._lock_step = False
        self._instant = -np.inf

    def take_driver_state(self, state: DriverState) -> RobotState | None:
        """The state of this joint sample's instant; None where it makes none, or waits for the objects'."""
        if not state.lock_step and is_overtaken(state.sequence, self._newest):
            return None
        self._newest, self._lock_step, self._instant = state.sequence, state.lock_step, state.stamp
        if state.lock_step and self.fuser.required_objects:
            if self._objects is None or self._objects.sequence != state.sequence:
                self._waiting = state
                return None
        return self._fused(state)

    def take_objects(self, objects: ObjectStates) -> RobotState | None:
        """The state that has waited for these objects; None where none has."""
        if self._was_overtaken(objects):
            return None
        self._objects = objects
        waiting = self._waiting
        return self._fused(waiting) if waiting is not None and waiting.sequence == objects.sequence else None

    def _was_overtaken(self, objects: ObjectStates) -> bool:
        """Whether newer ones are there; those that lie ahead of the joint sample are no measure."""
        if self._objects is None or self._lock_step:
            return False
        before = self._objects.stamp
        return before - _AGAIN < objects.stamp < before <= self._instant + CLOCK_TOLERANCE

    def _fused(self, state: DriverState) -> RobotState:
        self._waiting = None
        # The state is judged as it comes; driver and perception stamp with one clock.
        fused = self.fuser.fuse(
            state, self._objects, state.stamp, self.wrist, sources=self.joints, tactile=self.tactile
        )
        for cameras in (self.colour, self.depth):
            if cameras is not None:
                cameras.add_sample(fused.stamp, fused.sequence)
                fused.modalities += cameras.modalities(fused.stamp)
        return fused
