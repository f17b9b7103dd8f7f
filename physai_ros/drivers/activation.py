"""What is asked of an arm before it may be driven: joints, pose, limits, time-outs and clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physai_ros.drivers.driver import DriverCapabilities, DriverError
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverFault, DriverState

_STILL = 0.02  # [rad/s]
_ROUNDING = 1e-6


@dataclass(frozen=True)
class ActivationChecks:
    """What an arm must show.

    Attributes:
        clock_tolerance: largest difference between the stamp of a measurement and our clock [s].
        sink_without_timeout: in writing, why an arm is driven that does not stop by itself when we fall silent; empty:
            it is not.
    """

    clock_tolerance: float = 0.1
    sink_without_timeout: str = ""

    def check(self, spec: RobotSpec, capabilities: DriverCapabilities, state: DriverState, now: float) -> None:
        """Look at an arm that is connected and at rest; `now` is on the clock of its stamps [s].

        Raises:
            DriverError: the first thing that does not fit, with what was found, what was expected and what to do.
        """
        check_joints(spec, state)
        if state.fault != DriverFault.NONE:
            raise DriverError(f"'{spec.name}' reports {state.fault.name}: {state.fault_text or 'no text'}; clear it")
        check_pose(spec, state)
        _check_enforced(spec, state)
        if not capabilities.command_timeout <= spec.command_timeout * (1 + 1e-9) and not self.sink_without_timeout:
            raise DriverError(
                f"'{spec.name}' stops by itself after {capabilities.command_timeout:g} s of silence, expected at most "
                f"{spec.command_timeout:g} s: nothing would rest it if this process died. Choose a sink with a "
                "time-out, or accept it in writing with sink_without_timeout"
            )
        offset = state.stamp - now
        if not abs(offset) <= self.clock_tolerance:
            raise DriverError(
                f"measurements of '{spec.name}' are stamped {offset:+.3f} s off this clock, expected within "
                f"{self.clock_tolerance:g} s; synchronise both clocks (chrony, PTP) or correct use_sim_time"
            )


def check_joints(spec: RobotSpec, state: DriverState) -> None:
    """Raise DriverError unless the joints are those of `spec`, in any order, with finite positions."""
    if set(state.joint_names) != set(spec.joint_names) or len(state.joint_names) != len(spec.joint_names):
        raise DriverError(
            f"the arm's joints are {', '.join(state.joint_names) or 'none'}; '{spec.name}' expects "
            f"{', '.join(spec.joint_names)}; correct the robot's configuration or its URDF"
        )
    if not np.isfinite(state.joint_positions).all():
        raise DriverError(f"'{spec.name}' measures {np.asarray(state.joint_positions).tolist()}; expected finite [rad]")


def check_pose(spec: RobotSpec, state: DriverState) -> None:
    """Raise DriverError unless the arm stands still, inside its joint limits; joints in any order."""
    order = [state.joint_names.index(name) for name in spec.joint_names]
    positions, velocities = (np.asarray(v)[order] for v in (state.joint_positions, state.joint_velocities))
    lower, upper = spec.position_lower - _ROUNDING, spec.position_upper + _ROUNDING
    for i in np.flatnonzero((positions < lower) | (positions > upper)):
        raise DriverError(
            f"{spec.joint_names[i]} stands at {positions[i]:.4f} rad, outside {spec.position_lower[i]:g} to "
            f"{spec.position_upper[i]:g}; move the arm inside by the vendor's own means"
        )
    for i in np.flatnonzero(~(np.abs(velocities) <= _STILL)):
        raise DriverError(
            f"{spec.joint_names[i]} moves at {velocities[i]:.3f} rad/s; wait until the arm rests (below {_STILL:g})"
        )


def _check_enforced(spec: RobotSpec, state: DriverState) -> None:
    """Raise DriverError where the arm itself allows less than its configuration says; empty arrays say nothing."""
    order = [state.joint_names.index(name) for name in spec.joint_names]
    for what, ours, theirs in (
        ("upper limit", spec.position_upper, np.asarray(state.enforced_position_upper)),
        ("lower limit, negated", -spec.position_lower, -np.asarray(state.enforced_position_lower)),
        ("velocity limit", spec.velocity_limits, np.asarray(state.enforced_velocity)),
        ("effort limit", spec.effort_limits, np.asarray(state.enforced_effort)),
    ):
        if theirs.size == 0:
            continue
        if theirs.shape != ours.shape:
            raise DriverError(f"'{spec.name}' reports {theirs.size} numbers as {what} of {ours.size} joints")
        for i in np.flatnonzero(~(ours <= theirs[order] + _ROUNDING)):
            raise DriverError(
                f"{what} of {spec.joint_names[i]} is {ours[i]:g} in the configuration and {theirs[order][i]:g} in the "
                "arm; narrow the configuration to what the arm enforces"
            )
