"""How far the arm is from everything that it must keep away from, itself included, and how joints change that."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from physai_ros.robot.body import Body, Placement
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.shapes import LinkPoints, arm_shape
from physai_ros.safety.limits import SafetyConfigurationError, SafetyLimits

_UNWATCHED = 1e3  # [m] added where nothing is to be watched


class Sight(NamedTuple):
    """What was seen at one `posture` (n_joints,) [rad]: `distances` (m,) [m], the `least` of them, where points lie."""

    posture: np.ndarray
    distances: np.ndarray
    least: float
    placement: Placement


class Distances:
    """Distances [m] that limits want to be at least zero, at any posture; below zero is how deep it is inside.

    They are, in this order: the tool to the six walls of its box; every extreme of a moving link to every half-space;
    spheres round moving links to keep-out boxes; spheres round two links to each other, less the margin. `names` says
    of each to what. The points take in all of the links (`robot.shapes`), so that what is far here is far.

    `reach` (m, n_joints) [m/rad] bounds how fast a joint can change a distance, at any posture: no point moves further
    than the sum over joints of angle turned times distance from the joint's axis. `longest` (n_joints,) bounds that.
    """

    def __init__(self, limits: SafetyLimits, kinematics: Kinematics) -> None:
        shape = arm_shape(kinematics)
        moving = shape.extremes.select(np.flatnonzero(shape.extremes.joints > 0))
        # Near the base first: spheres of links that others are watched against, then the rest.
        spheres = shape.spheres.select(np.argsort(shape.spheres.joints, kind="stable"))
        joints = len(limits.joint_names)
        tool = LinkPoints(
            kinematics.tool_pose(np.zeros(joints)).position[np.newaxis], np.zeros(1), np.array([joints]), ("tool",)
        )
        points = tool.joined(moving).joined(spheres)
        self._body = Body(kinematics, points)
        self._extremes = slice(1, 1 + len(moving.radii))
        self._spheres = slice(self._extremes.stop, None)
        first = self._extremes.stop

        self._walls = np.concatenate([np.eye(3), -np.eye(3)])
        self._wall_offsets = np.concatenate([limits.workspace_lower, -limits.workspace_upper])
        planes, boxes = limits.half_spaces, limits.keep_out
        self._normals = np.array([plane.normal for plane in planes]).reshape(-1, 3)
        self._plane_offsets = np.array([plane.offset + moving.radii for plane in planes])
        outer = np.flatnonzero(spheres.joints > 0)
        self._outer = slice(first + int(outer[0]), None)
        self._centres = np.array([(box.lower + box.upper) / 2.0 for box in boxes]).reshape(-1, 1, 3)
        self._halves = np.array([(box.upper - box.lower) / 2.0 for box in boxes]).reshape(-1, 1, 3)
        self._outer_radii = spheres.radii[outer]
        watched = _watched(spheres, limits)
        near, far = np.flatnonzero(watched.any(axis=1)), np.flatnonzero(watched.any(axis=0))
        self._near, self._far = _view(first + near), _view(first + far)
        self._margin = limits.self_distance.margin
        self._apart = spheres.radii[near][:, np.newaxis] + spheres.radii[far] + self._margin
        self._apart[~watched[np.ix_(near, far)]] -= _UNWATCHED

        self._index(points, moving, [plane.name for plane in planes], [box.name for box in boxes], kinematics)
        self._check_home(kinematics.spec.home_positions, points.links)

    def look(self, joint_positions: np.ndarray) -> Sight:
        """All distances at `joint_positions` (n_joints,) [rad]."""
        placement = self._body.place(joint_positions)
        points = placement.points
        parts = [self._walls.dot(points[0]) - self._wall_offsets]
        if len(self._normals):
            parts.append((self._normals.dot(points[self._extremes].T) - self._plane_offsets).ravel())
        if len(self._centres):
            inside = points[self._outer] - self._centres
            parts.append((_from_box(inside, self._halves) - self._outer_radii).ravel())
        if self._apart.size:
            apart = cdist(points[self._near], points[self._far])
            apart -= self._apart
            parts.append(apart.ravel())
        distances = np.concatenate(parts)
        return Sight(joint_positions, distances, float(np.minimum.reduce(distances)), placement)

    def slopes(self, sight: Sight, which: np.ndarray) -> np.ndarray:
        """What a turn of each joint adds to the distances `which`, in rising order: (n, n_joints) [m/rad]."""
        points, moved = sight.placement.points, self._moved[which]
        directions = self._directions[which]
        if len(self._centres):
            rows = np.flatnonzero((which >= self._starts[2]) & (which < self._starts[3]))
            box = (which[rows] - self._starts[2]) // len(self._outer_radii)
            directions[rows] = _out_of_box(points[moved[rows]] - self._centres[box, 0], self._halves[box, 0])
        pairs = int(np.searchsorted(which, self._starts[3]))
        apart = points[moved[pairs:]] - points[self._held[which[pairs:]]]
        directions[pairs:] = apart / np.maximum(np.sqrt(np.einsum("ij,ij->i", apart, apart)), 1e-9)[:, np.newaxis]
        return sight.placement.slopes(moved, directions) * self._turns[which]

    def _index(
        self,
        points: LinkPoints,
        moving: LinkPoints,
        planes: list[str],
        boxes: list[str],
        kinematics: Kinematics,
    ) -> None:
        """Of each distance: its name, the point that moves and the one that is held, and which joints change it."""
        extremes, outer = np.arange(1, 1 + len(moving.radii)), np.arange(self._outer.start, len(points.radii))
        self.names = (
            ("workspace",) * len(self._walls)
            + tuple(f"half_space {name}" for name in planes for _ in extremes)
            + tuple(f"keep_out {name}" for name in boxes for _ in outer)
            + ("self_distance",) * self._apart.size
        )
        walls, pairs = len(self._walls), self._apart.size
        sizes = [walls, len(planes) * len(extremes), len(boxes) * len(outer), pairs]
        self._starts = np.cumsum([0, *sizes])
        near, far = (np.arange(len(points.joints))[which] for which in (self._near, self._far))
        self._moved = np.concatenate(
            [
                np.zeros(walls, dtype=int),
                np.tile(extremes, len(planes)),
                np.tile(outer, len(boxes)),
                np.tile(far, len(near)),
            ]
        )
        self._held = np.zeros(len(self._moved), dtype=int)
        self._held[self._starts[3] :] = np.repeat(near, len(far))
        self._directions = np.zeros((len(self._moved), 3))
        self._directions[:walls] = self._walls
        self._directions[walls : self._starts[2]] = np.repeat(self._normals, len(extremes), axis=0)
        joint = np.arange(len(kinematics.spec.joint_names))
        inner = np.zeros(len(self._moved), dtype=int)
        inner[self._starts[3] :] = points.joints[self._held[self._starts[3] :]]
        self._turns = (joint < points.joints[self._moved][:, np.newaxis]) & (joint >= inner[:, np.newaxis])
        self.reach = np.where(self._turns, _levers(points, kinematics)[self._moved], 0.0)
        self.longest = self.reach.max(axis=0)

    def _check_home(self, home: np.ndarray, links: tuple[str, ...]) -> None:
        """Refuse pairs that are too near at home already: they would hold the arm for ever."""
        found = self.look(home).distances[self._starts[3] :]
        if found.min(initial=0.0) >= 0.0:
            return
        worst = self._starts[3] + int(np.argmin(found))
        raise SafetyConfigurationError(
            f"at home_positions {links[self._held[worst]]} and {links[self._moved[worst]]} are "
            f"{found.min() + self._margin:.4f} m apart, expected at least the self-distance margin {self._margin:g} m; "
            "correct home_positions, or put the pair under self_distance.unwatched if joint limits keep them apart"
        )


def _watched(spheres: LinkPoints, limits: SafetyLimits) -> np.ndarray:
    """Which spheres (near the base, far from it) are to keep their distance, as a matrix."""
    names = set(spheres.links)
    for pair in limits.self_distance.unwatched:
        if not pair <= names:
            raise SafetyConfigurationError(
                f"self_distance.unwatched names {', '.join(sorted(pair - names))}; links with shapes are: "
                f"{', '.join(dict.fromkeys(spheres.links))}"
            )
    # Links that one joint connects touch by design.
    watched = spheres.joints - spheres.joints[:, np.newaxis] >= 2
    links = np.array(spheres.links)
    for pair in limits.self_distance.unwatched:
        one, other = (links == name for name in (*pair, *pair)[:2])
        watched &= ~(np.outer(one, other) | np.outer(other, one))
    return watched


def _view(which: np.ndarray) -> np.ndarray | slice:
    """Rising indices as a slice where they follow each other: what it takes is not copied."""
    follow = len(which) and which[-1] - which[0] == len(which) - 1
    return slice(int(which[0]), int(which[-1]) + 1) if follow else which


def _levers(points: LinkPoints, kinematics: Kinematics) -> np.ndarray:
    """Longest distance (points, n_joints) [m] of a point from a joint's axis at any posture."""
    origins = kinematics.link_positions(np.zeros(len(kinematics.spec.joint_names)))[:-1]
    # Joints that follow each other stay as far apart as they are: one of them turns about itself.
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(origins, axis=0), axis=1))])
    last = np.maximum(points.joints - 1, 0)
    beyond = np.linalg.norm(points.positions - origins[last], axis=1)
    return np.maximum((along[last] + beyond)[:, np.newaxis] - along, 0.0)


def _from_box(points: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """Signed distance of points (..., 3) from a box about the origin, below zero inside."""
    beyond = np.abs(points) - halves
    outside = np.maximum(beyond, 0.0)
    return np.sqrt(np.einsum("...i,...i->...", outside, outside)) + np.minimum(beyond.max(axis=-1), 0.0)


def _out_of_box(points: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """Unit directions (n, 3) in which that distance grows."""
    beyond = np.abs(points) - halves
    outward = np.maximum(beyond, 0.0)
    inside = np.flatnonzero(~outward.any(axis=1))
    outward[inside, beyond[inside].argmax(axis=1)] = 1.0
    outward *= np.where(points < 0, -1.0, 1.0)
    return outward / np.linalg.norm(outward, axis=1, keepdims=True)
