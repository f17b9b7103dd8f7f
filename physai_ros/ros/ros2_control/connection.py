"""What a robot's configuration says under `connection` of an arm that ros2_control brings up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from physai_ros.drivers.driver import DriverError
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverFault

SINKS = ("position", "velocity", "trajectory", "twist")
"""What a controller takes: positions or velocities (Float64MultiArray), JointTrajectory, TwistStamped."""
_FAULTS = {fault.name.lower(): fault for fault in DriverFault if fault != DriverFault.NONE}


@dataclass(frozen=True)
class GripperConnection:
    """A gripper, by the action of its controller or by the topic of a forward one.

    `joint` is its joint in joint_states; `closed` and `opened` are that joint's positions, `width_of_joint` the opening
    between the pads [m] for one unit of it, `fingers` how many positions a command on the topic has, all alike.
    """

    joint: str = ""
    action: str = ""
    topic: str = ""
    closed: float = 0.0
    opened: float = math.nan
    width_of_joint: float = 1.0
    fingers: int = 1


@dataclass(frozen=True)
class FaultConnection:
    """A vendor's topic that tells of faults: the named `field` of its messages, and what its values mean."""

    topic: str
    type: str
    field: str
    values: Mapping[str, DriverFault]


@dataclass(frozen=True)
class RecoveryStep:
    """One call of a service: `request` holds its fields; a response that has `success` must say true."""

    service: str
    type: str
    request: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Connection:
    """Names of an arm's controllers and topics, relative to `namespace`.

    `command_timeout` [s] is the silence after which the controller stops by itself, inf where it never does; one that
    plays trajectories rests at the end of the last. `joints` maps names of ours to names in joint_states; after
    `silence` [s] without those the link is lost.
    """

    sink: str
    controller: str
    namespace: str = ""
    command_topic: str = ""
    twist_frame: str = ""
    command_timeout: float = math.inf
    joint_states: str = "joint_states"
    joints: Mapping[str, str] = field(default_factory=dict)
    silence: float = 0.1
    rate: float = 0.0
    wrench: str = ""
    deactivate: tuple[str, ...] = ()
    controller_manager: str = "controller_manager"
    gripper: GripperConnection | None = None
    fault: FaultConnection | None = None
    recover: tuple[RecoveryStep, ...] = ()

    @classmethod
    def of(cls, spec: RobotSpec) -> Connection:
        """The connection of `spec`, checked.

        Raises:
            DriverError: a key is unknown, missing or of the wrong kind.
        """
        given = dict(spec.connection)
        where = f"connection of '{spec.name}'"
        _check_keys(given, cls, {"sink", "controller"}, where)
        if given["sink"] not in SINKS:
            raise DriverError(f"{where}: sink is {given['sink']!r}; expected one of {', '.join(SINKS)}")
        for name in ("gripper", "fault"):
            if name in given:
                given[name] = _NESTED[name](given[name], f"{where}.{name}", spec)
        given["recover"] = tuple(_step(step, f"{where}.recover") for step in _list(given.get("recover", ()), where))
        given["deactivate"] = tuple(_list(given.get("deactivate", ()), where))
        for name in ("command_timeout", "silence", "rate"):
            given[name] = _number(given.get(name, getattr(cls, name)), f"{where}: {name}", above=-1e-12)
        joints = given.get("joints", {})
        if not isinstance(joints, Mapping) or not set(joints) <= {*spec.joint_names, *spec.gripper.joints}:
            raise DriverError(f"{where}: joints is {joints!r}; expected a mapping of {', '.join(spec.joint_names)}")
        suffix = "joint_trajectory" if given["sink"] == "trajectory" else "commands"
        given["command_topic"] = given.get("command_topic") or f"{given['controller']}/{suffix}"
        given["twist_frame"] = given.get("twist_frame") or spec.base_frame
        given["rate"] = given["rate"] or spec.control_rate
        return cls(**given)


def _gripper(given: object, where: str, spec: RobotSpec) -> GripperConnection:
    _check_keys(given, GripperConnection, set(), where)
    if bool(given.get("action")) == bool(given.get("topic")):
        raise DriverError(f"{where}: give either action or topic, one of them")
    widest = spec.gripper.max_width
    numbers = {
        name: _number(given.get(name, default), f"{where}.{name}")
        for name, default in (("closed", 0.0), ("opened", widest), ("width_of_joint", 1.0))
    }
    fingers = given.get("fingers", 1)
    if isinstance(fingers, bool) or not isinstance(fingers, int) or fingers < 1:
        raise DriverError(f"{where}.fingers is {fingers!r}; expected a whole number of at least 1")
    return GripperConnection(**{**given, **numbers})


def _fault(given: object, where: str, _spec: RobotSpec) -> FaultConnection:
    _check_keys(given, FaultConnection, {"topic", "type", "field", "values"}, where)
    values = given["values"]
    if not isinstance(values, Mapping) or not set(values.values()) <= set(_FAULTS):
        raise DriverError(f"{where}.values is {values!r}; expected values of the field to {', '.join(_FAULTS)}")
    return FaultConnection(**{**given, "values": {str(key): _FAULTS[name] for key, name in values.items()}})


def _step(given: object, where: str) -> RecoveryStep:
    _check_keys(given, RecoveryStep, {"service", "type"}, where)
    return RecoveryStep(**given)


_NESTED = {"gripper": _gripper, "fault": _fault}


def _check_keys(given: object, kind: type, needed: set[str], where: str) -> None:
    known = {each.name for each in fields(kind)}
    if not isinstance(given, Mapping):
        raise DriverError(f"{where} is {given!r}; expected a mapping of {', '.join(sorted(known))}")
    unknown, missing = sorted(set(given) - known), sorted(needed - set(given))
    if unknown:
        raise DriverError(f"{where}: unknown key '{unknown[0]}'; known are: {', '.join(sorted(known))}")
    if missing:
        raise DriverError(f"{where}: key '{missing[0]}' is missing; add it")


def _list(given: object, where: str) -> list | tuple:
    if not isinstance(given, list | tuple):
        raise DriverError(f"{where}: {given!r} is no list")
    return given


def _number(given: object, what: str, above: float = -math.inf) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not given > above:
        raise DriverError(f"{what} is {given!r}; expected a number{' of zero or more' * math.isfinite(above)}")
    return float(given)
