"""What an arm is: joint names and limits from its URDF, the rest from `config/robots/*.yaml`."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from physai_ros.robot.share import share_path
from physai_ros.robot.volumes import HalfSpace, KeepOut, SelfDistance

FORCE_PHASES = ("reach", "grasp", "carry")
"""Phases of a task that forces are judged by: gripper open, gripper moving, gripper closed on something."""


class RobotSpecError(ValueError):
    """A robot's URDF or configuration cannot be used; the message says what to do."""


@dataclass(frozen=True)
class GripperSpec:
    """A parallel gripper: its finger joints, opening [m] and force [N]."""

    joints: tuple[str, ...]
    max_width: float
    max_force: float


@dataclass(frozen=True)
class RobotSpec:
    """Description of one arm.

    Arrays are (n_joints,) in the order of `joint_names`: position [rad], velocity [rad/s], acceleration [rad/s^2],
    jerk [rad/s^3], effort [N m]. `workspace_lower` and `workspace_upper` (3,) are the box that the tool must stay
    in, in the base frame [m]; `half_spaces`, `keep_out` and `self_distance` bind all links. `force_budgets` [N] are by
    phase of the task. `connection` is what the kind of `driver` wants to know of this arm, addresses and names; the
    driver checks it.
    """

    name: str
    urdf_path: Path
    driver: str
    base_frame: str
    tool_frame: str
    joint_names: tuple[str, ...]
    position_lower: np.ndarray
    position_upper: np.ndarray
    velocity_limits: np.ndarray
    acceleration_limits: np.ndarray
    jerk_limits: np.ndarray
    effort_limits: np.ndarray
    home_positions: np.ndarray
    control_rate: float
    command_timeout: float
    workspace_lower: np.ndarray
    workspace_upper: np.ndarray
    gripper: GripperSpec
    half_spaces: tuple[HalfSpace, ...] = ()
    keep_out: tuple[KeepOut, ...] = ()
    self_distance: SelfDistance = SelfDistance()
    force_budgets: Mapping[str, float] = field(default_factory=dict)
    connection: Mapping[str, Any] = field(default_factory=dict)

    @property
    def control_period(self) -> float:
        """Time of one control cycle [s]."""
        return 1.0 / self.control_rate

    @classmethod
    def load(cls, robot: str | Path) -> RobotSpec:
        """Read a robot's configuration by name (`fr3_sim`) or by path.

        Raises:
            RobotSpecError: the file, a key, a joint or a limit is missing, unknown or out of range.
        """
        path = _config_path(robot)
        config = _read_config(path)
        urdf_path = Path(config["urdf"])
        if not urdf_path.is_absolute():
            beside = path.parent / urdf_path
            urdf_path = beside if beside.exists() else share_path(str(urdf_path))
        gripper = _read_gripper(config["gripper"], path)
        joints = _read_joints(urdf_path, set(gripper.joints))
        count = len(joints)
        names = tuple(joint[0] for joint in joints)
        lower, upper, velocity, effort = np.array([joint[1:] for joint in joints]).T
        lower, upper, velocity = _narrowed(config.get("limits", {}), lower, upper, velocity, path)
        home = _vector(config, "home_positions", count, path)
        outside = np.flatnonzero((home < lower) | (home > upper))
        if outside.size:
            i = int(outside[0])
            raise RobotSpecError(
                f"{path}: home_positions puts {names[i]} at {home[i]:g} rad, outside its limits "
                f"{lower[i]:g} to {upper[i]:g}; correct home_positions or the URDF"
            )
        workspace = _read_workspace(config["workspace"], path)
        return cls(
            name=str(config["name"]),
            urdf_path=urdf_path,
            driver=str(config["driver"]),
            base_frame=str(config["base_frame"]),
            tool_frame=str(config["tool_frame"]),
            joint_names=names,
            position_lower=lower,
            position_upper=upper,
            velocity_limits=velocity,
            acceleration_limits=_vector(config, "acceleration_limits", count, path, positive=True),
            jerk_limits=_vector(config, "jerk_limits", count, path, positive=True),
            effort_limits=effort,
            home_positions=home,
            control_rate=_positive(config, "control_rate", path),
            command_timeout=_positive(config, "command_timeout", path),
            **workspace,
            gripper=gripper,
            self_distance=_read_self_distance(config.get("self_distance", {}), path),
            force_budgets=_read_force_budgets(config.get("force_budgets", {}), path),
            connection=_read_connection(config.get("connection", {}), path),
        )


_KEYS = {
    "name",
    "urdf",
    "driver",
    "base_frame",
    "tool_frame",
    "home_positions",
    "acceleration_limits",
    "jerk_limits",
    "control_rate",
    "command_timeout",
    "workspace",
    "gripper",
}
_OPTIONAL_KEYS = {"limits", "self_distance", "force_budgets", "connection"}
_LIMIT_KEYS = {"position_lower", "position_upper", "velocity"}
_GRIPPER_KEYS = {"joints", "max_width", "max_force"}


def _config_path(robot: str | Path) -> Path:
    path = Path(robot)
    if path.suffix in {".yaml", ".yml"}:
        if path.exists():
            return path
        raise RobotSpecError(f"no robot configuration at {path}; give a name from config/robots or a path that exists")
    folder = share_path("config", "robots")
    path = folder / f"{robot}.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise RobotSpecError(f"unknown robot '{robot}'; known are: {known}")
    return path


def _read_config(path: Path) -> dict:
    try:
        config = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise RobotSpecError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(config, dict):
        raise RobotSpecError(f"{path} must be a mapping of {', '.join(sorted(_KEYS))}; it is {type(config).__name__}")
    _check_keys(config, _KEYS, path, _OPTIONAL_KEYS)
    return config


def _check_keys(config: dict, expected: set[str], path: Path, optional: set[str] = frozenset()) -> None:
    known = expected | optional
    unknown, missing = sorted(set(config) - known), sorted(expected - set(config))
    if unknown:
        raise RobotSpecError(f"{path}: unknown key '{unknown[0]}'; known are: {', '.join(sorted(known))}")
    if missing:
        raise RobotSpecError(f"{path}: key '{missing[0]}' is missing; add it")


def _positive(config: dict, key: str, path: Path) -> float:
    value = config[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0 or not np.isfinite(value):
        raise RobotSpecError(f"{path}: {key} is {value!r}; expected a finite number above zero")
    return float(value)


def _vector(
    config: dict, key: str, count: int, path: Path, *, positive: bool = False, of: str = "joints"
) -> np.ndarray:
    try:
        vector = np.asarray(config[key], dtype=float)
    except (TypeError, ValueError) as error:
        raise RobotSpecError(f"{path}: {key} is {config[key]!r}; expected {count} numbers") from error
    if vector.shape != (count,):
        raise RobotSpecError(f"{path}: {key} has shape {vector.shape}; expected one number for each of {count} {of}")
    if not np.isfinite(vector).all() or (positive and (vector <= 0).any()):
        raise RobotSpecError(f"{path}: {key} is {vector.tolist()}; expected finite numbers{' above zero' * positive}")
    return vector


def _narrowed(
    config: dict, lower: np.ndarray, upper: np.ndarray, velocity: np.ndarray, path: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The URDF's limits (n_joints,), narrowed to those that the key `limits` gives."""
    if not isinstance(config, dict):
        raise RobotSpecError(f"{path}: limits is {config!r}; expected a mapping of {', '.join(sorted(_LIMIT_KEYS))}")
    _check_keys(config, set(), path, _LIMIT_KEYS)
    narrower = []
    for key, of_urdf, sign in (
        ("position_lower", lower, -1.0),
        ("position_upper", upper, 1.0),
        ("velocity", velocity, 1.0),
    ):
        own = _vector(config, key, len(of_urdf), path, positive=key == "velocity") if key in config else of_urdf
        for i in np.flatnonzero(sign * own > sign * of_urdf):
            raise RobotSpecError(
                f"{path}: limits.{key} of joint {i + 1} is {own[i]:g}, wider than the URDF's {of_urdf[i]:g}; "
                "narrow it, or correct the URDF from the data sheet"
            )
        narrower.append(own)
    if not (narrower[0] < narrower[1]).all():
        raise RobotSpecError(f"{path}: limits leave a joint no range; expected position_lower below position_upper")
    return narrower[0], narrower[1], narrower[2]


def _read_workspace(config: dict, path: Path) -> dict[str, Any]:
    """Box of the tool, half-spaces and keep-out boxes of all links, as fields of `RobotSpec`."""
    if not isinstance(config, dict):
        raise RobotSpecError(f"{path}: workspace must be a mapping of lower and upper, three numbers each [m]")
    _check_keys(config, {"lower", "upper"}, path, {"half_spaces", "keep_out"})
    lower, upper = (_vector(config, key, 3, path, of="axes of the workspace") for key in ("lower", "upper"))
    if not (lower < upper).all():
        raise RobotSpecError(f"{path}: workspace is {lower.tolist()} to {upper.tolist()}; expected lower below upper")
    return {
        "workspace_lower": lower,
        "workspace_upper": upper,
        "half_spaces": _read_volumes(config, "half_spaces", HalfSpace, {"name", "normal", "offset"}, path),
        "keep_out": _read_volumes(config, "keep_out", KeepOut, {"name", "lower", "upper"}, path),
    }


def _read_volumes(config: dict, key: str, kind: type, keys: set[str], path: Path) -> tuple:
    given = config.get(key, [])
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise RobotSpecError(f"{path}: workspace.{key} is {given!r}; expected a list of {', '.join(sorted(keys))}")
    volumes = []
    for item in given:
        _check_keys(item, keys, path)
        try:
            volumes.append(kind(**item))
        except (TypeError, ValueError) as error:
            raise RobotSpecError(f"{path}: workspace.{key}: {error}") from error
    return tuple(volumes)


def _read_self_distance(config: dict, path: Path) -> SelfDistance:
    if not isinstance(config, dict):
        raise RobotSpecError(f"{path}: self_distance is {config!r}; expected a mapping of margin and unwatched")
    _check_keys(config, set(), path, {"margin", "unwatched"})
    pairs = config.get("unwatched", [])
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(link, str) for link in pair) for pair in pairs
    ):
        raise RobotSpecError(f"{path}: self_distance.unwatched is {pairs!r}; expected a list of pairs of link names")
    try:
        return SelfDistance(config.get("margin", SelfDistance.margin), tuple(frozenset(pair) for pair in pairs))
    except (TypeError, ValueError) as error:
        raise RobotSpecError(f"{path}: {error}") from error


def _read_force_budgets(config: dict, path: Path) -> dict[str, float]:
    if not isinstance(config, dict):
        raise RobotSpecError(f"{path}: force_budgets is {config!r}; expected a mapping of {', '.join(FORCE_PHASES)}")
    _check_keys(config, set(), path, set(FORCE_PHASES))
    return {phase: _positive(config, phase, path) for phase in config}


def _read_connection(config: dict, path: Path) -> dict[str, Any]:
    if not isinstance(config, dict) or not all(isinstance(key, str) for key in config):
        raise RobotSpecError(f"{path}: connection is {config!r}; expected a mapping of what its driver wants to know")
    return dict(config)


def _read_gripper(config: dict, path: Path) -> GripperSpec:
    if not isinstance(config, dict):
        raise RobotSpecError(f"{path}: gripper must be a mapping of {', '.join(sorted(_GRIPPER_KEYS))}")
    _check_keys(config, _GRIPPER_KEYS, path)
    joints = config["joints"]
    if not isinstance(joints, list) or not all(isinstance(name, str) for name in joints):
        raise RobotSpecError(f"{path}: gripper.joints is {joints!r}; expected a list of joint names")
    return GripperSpec(tuple(joints), _positive(config, "max_width", path), _positive(config, "max_force", path))


def _read_joints(urdf_path: Path, gripper_joints: set[str]) -> list[tuple[str, float, float, float, float]]:
    """Name, lower, upper, velocity and effort of every movable arm joint, from base to tool."""
    if not urdf_path.exists():
        raise RobotSpecError(f"no URDF at {urdf_path}; correct the key urdf")
    try:
        root = ElementTree.parse(urdf_path).getroot()
    except ElementTree.ParseError as error:
        raise RobotSpecError(f"{urdf_path} is not valid XML: {error}") from error
    found = {joint.get("name", "") for joint in root.findall("joint")}
    missing = sorted(gripper_joints - found)
    if missing:
        raise RobotSpecError(
            f"{urdf_path}: the gripper joint '{missing[0]}' does not exist; joints are: {', '.join(sorted(found))}"
        )
    joints = []
    for joint in root.findall("joint"):
        name = joint.get("name", "")
        kind = joint.get("type")
        if kind == "fixed" or name in gripper_joints:
            continue
        if kind not in {"revolute", "continuous"}:
            raise RobotSpecError(f"{urdf_path}: joint '{name}' is {kind}; an arm's joints must be revolute")
        joints.append((name, *_read_limit(joint, name, urdf_path)))
    if not joints:
        raise RobotSpecError(f"{urdf_path} has no movable joints")
    return joints


def _read_limit(joint: ElementTree.Element, name: str, urdf_path: Path) -> tuple[float, float, float, float]:
    limit = joint.find("limit")
    values = []
    for key in ("lower", "upper", "velocity", "effort"):
        text = None if limit is None else limit.get(key)
        if text is None:
            raise RobotSpecError(
                f"{urdf_path}: joint '{name}' has no {key} limit; add "
                '<limit lower="" upper="" velocity="" effort=""/> from the data sheet'
            )
        values.append(float(text))
    lower, upper, velocity, effort = values
    if not (np.isfinite(values).all() and lower < upper and velocity > 0 and effort > 0):
        raise RobotSpecError(
            f"{urdf_path}: joint '{name}' has limits lower={lower:g} upper={upper:g} velocity={velocity:g} "
            f"effort={effort:g}; expected lower < upper and velocity, effort above zero, all finite"
        )
    return lower, upper, velocity, effort
