"""What the safety monitor sees and does, as markers for RViz, in the base frame."""

from __future__ import annotations

import math

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from physai_ros.robot.action import RobotAction
from physai_ros.robot.command import SafeCommand
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.state import DriverState
from physai_ros.ros.stamps import set_time
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.report import SafetyReport
from physai_ros.safety.state_machine import SafetyState

_GREY, _GREEN, _YELLOW, _RED = (0.7, 0.7, 0.7), (0.1, 0.8, 0.2), (1.0, 0.8, 0.1), (1.0, 0.15, 0.1)
_COLOURS = {
    SafetyState.INACTIVE: _GREY,
    SafetyState.NOMINAL: _GREEN,
    SafetyState.LIMITED: _YELLOW,
    SafetyState.HOLD: _YELLOW,
    SafetyState.STOPPED: _RED,
}
_NEAR = 0.1  # share of a limit that is left from which it is drawn red
_METRES_PER_NEWTON = 0.01
_LIFETIME = 0.5  # [s]: what a dead monitor said must not stay in the picture


class SafetyMarkers:
    """Draws workspace, volumes, nearest wall, margins, proposed and permitted tool, stop, reason, force on the tool.

    Not safe to share between threads, as `Kinematics` is not.
    """

    def __init__(self, base_frame: str, limits: SafetyLimits, kinematics: Kinematics) -> None:
        self._frame = base_frame
        self._limits = limits
        self._kinematics = kinematics

    def array(
        self,
        report: SafetyReport,
        command: SafeCommand | None,
        proposal: RobotAction | None,
        stamp: float,
        measured: DriverState | None = None,
    ) -> MarkerArray:
        """All markers at `stamp` [s]; what has no command, no usable proposal or no force sensor is left out."""
        markers = [self._workspace(report), *self._volumes(), *self._words(report)]
        if command is not None:
            tool = self._kinematics.tool_pose(command.positions).position
            markers += [self._ball("permitted", tool, 0.025, _GREEN), self._wall(tool), self._stop(command)]
            markers += self._proposed(tool, proposal)
        if measured is not None and measured.wrench_valid and measured.joint_names == self._limits.joint_names:
            markers.append(self._force(measured))
        for marker in markers:
            set_time(marker.header.stamp, stamp)
        return MarkerArray(markers=markers)

    def _workspace(self, report: SafetyReport) -> Marker:
        lower, upper = self._limits.workspace_lower, self._limits.workspace_upper
        near = report.margins.get("workspace", 1.0) < _NEAR
        made = self._marker("workspace", Marker.LINE_LIST, _RED if near else _GREY, 0.004)
        corners = [np.where([i & 1, i & 2, i & 4], upper, lower) for i in range(8)]
        for i in range(8):
            for bit in (1, 2, 4):
                if not i & bit:
                    made.points += [_point(corners[i]), _point(corners[i | bit])]
        return made

    def _volumes(self) -> list[Marker]:
        """What moving links keep out of, as boxes, and the half-spaces that they stay in, as plates on their border."""
        made = []
        for volume in self._limits.keep_out:
            box = self._marker(f"keep_out/{volume.name}", Marker.CUBE, _RED, 0.0)
            box.pose.position = _point((volume.lower + volume.upper) / 2.0)
            box.scale.x, box.scale.y, box.scale.z = (float(size) for size in volume.upper - volume.lower)
            made.append(box)
        for half in self._limits.half_spaces:
            plate = self._marker(f"half_space/{half.name}", Marker.CUBE, _GREY, 1.0)
            plate.pose.position = _point(half.offset * half.normal)
            x, y, z = half.normal
            # The shortest turn that takes the plate's own z to the normal; upside down there are many.
            turn = np.array([-y, x, 0.0, 1.0 + z]) if z > -1.0 + 1e-9 else np.array([1.0, 0.0, 0.0, 0.0])
            turn = turn / np.linalg.norm(turn)
            orientation = plate.pose.orientation
            orientation.x, orientation.y, orientation.z, orientation.w = (float(part) for part in turn)
            plate.scale.y, plate.scale.z = 1.0, 0.002
            made.append(plate)
        for marker in made:
            marker.color.a = 0.25
        return made

    def _wall(self, tool: np.ndarray) -> Marker:
        """Line from the tool to the nearest wall of the workspace."""
        lower, upper = self._limits.workspace_lower, self._limits.workspace_upper
        room = np.concatenate([tool - lower, upper - tool])
        nearest = int(room.argmin())
        foot = tool.copy()
        foot[nearest % 3] = (lower if nearest < 3 else upper)[nearest % 3]
        made = self._marker("distance", Marker.LINE_LIST, _RED if room[nearest] < 0.05 else _GREY, 0.003)
        made.points = [_point(tool), _point(foot)]
        made.text = f"{room[nearest]:.3f} m"
        return made

    def _stop(self, command: SafeCommand) -> Marker:
        made = self._marker("stop", Marker.LINE_STRIP, _RED, 0.008)
        path = [command.positions, *command.stop.positions]
        made.points = [_point(self._kinematics.tool_pose(positions).position) for positions in path]
        return made

    def _proposed(self, permitted: np.ndarray, proposal: RobotAction | None) -> list[Marker]:
        names = self._limits.joint_names
        if proposal is None or set(proposal.joint_names) != set(names) or len(proposal.joint_names) != len(names):
            return []
        reference = np.asarray(proposal.reference_positions, dtype=float)
        if reference.shape != (len(names),) or not np.isfinite(reference).all():
            return []  # the words say why it was refused
        tool = self._kinematics.tool_pose(reference[[proposal.joint_names.index(name) for name in names]]).position
        arrow = self._marker("refused_part", Marker.ARROW, _YELLOW, 0.006)
        arrow.scale.y, arrow.scale.z = 0.012, 0.02
        arrow.points = [_point(permitted), _point(tool)]
        return [self._ball("proposed", tool, 0.02, _YELLOW), arrow]

    def _force(self, measured: DriverState) -> Marker:
        """Arrow of the force on the tool, 100 N a metre, red over the budget of the phase that is the tightest."""
        pose = self._kinematics.tool_pose(np.asarray(measured.joint_positions, dtype=float))
        force = pose.rotation @ np.asarray(measured.wrench, dtype=float)[:3]
        budget = min([self._limits.force_budget, *self._limits.force_budgets.values()])
        arrow = self._marker("force", Marker.ARROW, _RED if np.linalg.norm(force) > budget else _GREEN, 0.008)
        arrow.scale.y, arrow.scale.z = 0.016, 0.02
        arrow.points = [_point(pose.position), _point(pose.position + _METRES_PER_NEWTON * np.nan_to_num(force))]
        arrow.text = f"{np.linalg.norm(force):.1f} N"
        return arrow

    def _words(self, report: SafetyReport) -> list[Marker]:
        colour = _COLOURS[report.state]
        state = self._text("state", (0.0, 0.0, 1.15), 0.06, colour)
        state.text = " ".join([report.state.name, *(reason.replace("_", " ") for reason in report.reasons)])
        margins = self._text("margins", (0.0, 0.0, 1.0), 0.03, _GREY)
        margins.text = "\n".join(
            f"{name.replace('_', ' ')} {100 * left:.0f} %" for name, left in report.margins.items()
        )
        if min(report.margins.values(), default=1.0) < _NEAR:
            margins.color = _colour(_RED)
        return [state, margins]

    def _ball(self, name: str, position: np.ndarray, diameter: float, colour: tuple[float, float, float]) -> Marker:
        made = self._marker(name, Marker.SPHERE, colour, diameter)
        made.scale.y = made.scale.z = diameter
        made.pose.position = _point(position)
        return made

    def _text(
        self, name: str, place: tuple[float, float, float], height: float, colour: tuple[float, float, float]
    ) -> Marker:
        made = self._marker(name, Marker.TEXT_VIEW_FACING, colour, 0.0)
        made.scale.z = height
        made.pose.position = _point(np.array(place))
        return made

    def _marker(self, name: str, kind: int, colour: tuple[float, float, float], width: float) -> Marker:
        made = Marker(ns=f"safety/{name}", id=0, type=kind, action=Marker.ADD, color=_colour(colour))
        made.header.frame_id = self._frame
        made.pose.orientation.w = 1.0
        made.scale.x = width
        seconds = math.floor(_LIFETIME)
        made.lifetime = Duration(sec=seconds, nanosec=round((_LIFETIME - seconds) * 1e9))
        return made


def _point(position: np.ndarray) -> Point:
    return Point(x=float(position[0]), y=float(position[1]), z=float(position[2]))


def _colour(rgb: tuple[float, float, float]) -> ColorRGBA:
    return ColorRGBA(r=rgb[0], g=rgb[1], b=rgb[2], a=0.9)
