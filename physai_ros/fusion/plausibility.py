"""Whether what was measured can be what it claims to be: units mistaken, positions out of range, sensors that jump."""

from __future__ import annotations

import numpy as np

from physai_ros.robot.spec import RobotSpec

_BEYOND = 0.6  # [rad] past a joint's range from which a position is no matter of calibration
_SLACK = 0.1  # [rad] of a jump, beside what the joint could have moved
_FASTER = 2.0  # times its velocity limit
_FAR = 10.0  # [m] from the base, where no arm on a table has to do with anything


class JointPlausibility:
    """Judges joint positions by the ranges of the joints, and by the sample before.

    A position that moves without the set-point, further than the joint could have, is a `jump`: refused, until the next
    sample agrees with it. Where the set-point moves along, as in a simulator that is reset, it is none.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self._spec = spec
        self.reset()

    def reset(self) -> None:
        """Forget the sample before."""
        self._before: tuple[float, np.ndarray, np.ndarray] | None = None
        self._jumped: np.ndarray | None = None

    def reason(self, stamp: float, positions: np.ndarray, commanded: np.ndarray) -> str:
        """Why positions (n_joints,) [rad] with this set-point (n_joints,) [rad] cannot be used; empty when they can."""
        return self._range_reason(positions) or self._jump_reason(stamp, positions, commanded)

    def _range_reason(self, positions: np.ndarray) -> str:
        lower, upper = self._spec.position_lower, self._spec.position_upper
        beyond = np.maximum(positions - upper, lower - positions)
        worst = int(beyond.argmax())
        if not beyond[worst] > _BEYOND:
            return ""
        name, value = self._spec.joint_names[worst], positions[worst]
        turned = np.radians(positions)
        if ((turned >= lower - _SLACK) & (turned <= upper + _SLACK)).all():
            return f"units: {name} is {value:.4g}, which looks like degrees; expected radians"
        return f"range: {name} is {value:.4g} rad, {beyond[worst]:.2g} beyond its range; check zero and units"

    def _jump_reason(self, stamp: float, positions: np.ndarray, commanded: np.ndarray) -> str:
        before, self._before = self._before, (stamp, positions, commanded)
        jumped, self._jumped = self._jumped, None
        if before is None or not stamp > before[0]:
            return ""
        moved = np.abs((positions - before[1]) - (commanded - before[2]))
        allowed = _FASTER * self._spec.velocity_limits * (stamp - before[0]) + _SLACK
        if not (moved > allowed).any():
            return ""
        if jumped is not None and (np.abs(positions - jumped) <= allowed).all():
            return ""  # it stays where it jumped to: it is there
        worst = int((moved - allowed).argmax())
        # What was believed stays the measure for the next sample.
        self._before, self._jumped = before, positions
        return f"jump: {self._spec.joint_names[worst]} by {moved[worst]:.3g} rad within {stamp - before[0]:.3g} s"


def position_reason(name: str, position: np.ndarray) -> str:
    """Why the position (3,) [m] of an object cannot be used; empty when it can."""
    distance = float(np.abs(position).max(initial=0.0))
    if distance <= _FAR:
        return ""
    if distance / 1000.0 <= _FAR / 2.0:
        return f"units: {name} lies at {distance:.4g}, which looks like millimetres; expected metres"
    return f"range: {name} lies {distance:.4g} m away; at most {_FAR:g} m are believed"


def opening_reason(width: float, max_width: float) -> str:
    """Why the opening [m] of a gripper's fingers cannot be used; empty when it can."""
    lower, upper = -0.1 * max_width, 1.2 * max_width
    if lower <= width <= upper:
        return ""
    if 10.0 * max_width < width <= 1000.0 * upper:
        return f"units: the fingers are {width:.4g} apart, which looks like millimetres; expected metres"
    return f"range: the fingers are {width:.4g} m apart; the gripper opens up to {max_width:g} m"
