"""The room that an arm takes up: spheres and corners on its links, from the shapes of its URDF."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pinocchio as pin
from scipy.spatial import ConvexHull

from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpecError


@dataclass(frozen=True)
class LinkPoints:
    """Points that move with links, each with a radius [m] of what is solid round it.

    `positions` (n, 3) [m] are those at the posture at zero, in the base frame; `joints` (n,) counts the joints that
    move a point (0: none); `links` (n,) are names of the URDF.
    """

    positions: np.ndarray
    radii: np.ndarray
    joints: np.ndarray
    links: tuple[str, ...]

    def select(self, which: np.ndarray) -> LinkPoints:
        """The points at indices `which`."""
        which = np.asarray(which)
        links = tuple(np.asarray(self.links, dtype=object)[which])
        return LinkPoints(self.positions[which], self.radii[which], self.joints[which], links)

    def joined(self, other: LinkPoints) -> LinkPoints:
        """These points, then the others."""
        return LinkPoints(
            np.concatenate([self.positions, other.positions]),
            np.concatenate([self.radii, other.radii]),
            np.concatenate([self.joints, other.joints]),
            self.links + other.links,
        )


@dataclass(frozen=True)
class ArmShape:
    """Two coverings of the same links, neither of which leaves anything of them out.

    `spheres` serve where distances in every direction count; they reach over edges and ends by some millimetres.
    `extremes` serve against planes: corners of boxes, which reach over nothing, and the spheres of all else.
    """

    spheres: LinkPoints
    extremes: LinkPoints


@lru_cache(maxsize=8)
def arm_shape(kinematics: Kinematics) -> ArmShape:
    """Coverings of the collision shapes in the URDF; a finger is where it is at any opening of the gripper.

    Raises:
        RobotSpecError: the URDF cannot be read, or has no collision shapes.
    """
    spec = kinematics.spec
    model = pin.buildModelFromUrdf(str(spec.urdf_path))
    shapes = pin.buildGeomFromUrdf(
        model, str(spec.urdf_path), pin.GeometryType.COLLISION, None, [str(spec.urdf_path.parent)]
    )
    if not len(shapes.geometryObjects):
        raise RobotSpecError(f"{spec.urdf_path} has no collision shapes; add <collision> to its links")
    arm = {model.getJointId(name): index + 1 for index, name in enumerate(spec.joint_names)} | {0: 0}
    spheres, extremes = _Collected(), _Collected()
    travel = _finger_travel(model, spec.gripper.joints)
    data = model.createData()
    for shape in shapes.geometryObjects:
        joint, link = shape.parentJoint, model.frames[shape.parentFrame].name
        centres, radius, corners = _covering(shape)
        places = []
        for opening in travel.get(joint, (pin.neutral(model),)):
            pin.forwardKinematics(model, data, opening)
            places.append(data.oMi[joint] * shape.placement)
        while joint not in arm:
            joint = model.parents[joint]
        if len(places) > 1:
            centres, radius = _swept(centres, radius, places)
        else:
            centres = _placed(places[0], centres)
        spheres.add(centres, radius, arm[joint], link)
        if corners is None:
            extremes.add(centres, radius, arm[joint], link)
        else:
            extremes.add(np.concatenate([_placed(place, corners) for place in places]), 0.0, arm[joint], link)
    return ArmShape(spheres.points(), _without_inner_corners(extremes.points()))


def _without_inner_corners(points: LinkPoints) -> LinkPoints:
    """The points less those corners that lie between other corners which move alike: no plane meets them first."""
    kept = []
    for joint in np.unique(points.joints):
        corners = np.flatnonzero((points.joints == joint) & (points.radii == 0.0))
        kept += list(np.flatnonzero((points.joints == joint) & (points.radii > 0.0)))
        kept += list(corners[ConvexHull(points.positions[corners]).vertices] if corners.size else corners)
    return points.select(np.sort(kept))


class _Collected:
    def __init__(self) -> None:
        self._rows: list[tuple[np.ndarray, float, int, str]] = []

    def add(self, positions: np.ndarray, radius: float, joint: int, link: str) -> None:
        self._rows += [(position, radius, joint, link) for position in positions]

    def points(self) -> LinkPoints:
        positions, radii, joints, links = zip(*self._rows, strict=True)
        return LinkPoints(np.array(positions), np.array(radii), np.array(joints), links)


def _finger_travel(model: pin.Model, fingers: tuple[str, ...]) -> dict[int, tuple[np.ndarray, ...]]:
    """Configurations of the whole model from closed to open, in steps, for the joint of each finger."""
    travel = {}
    for name in fingers:
        joint = model.getJointId(name)
        index = model.joints[joint].idx_q
        low, high = model.lowerPositionLimit[index], model.upperPositionLimit[index]
        configurations = []
        for value in np.linspace(low, high, 3):
            configuration = pin.neutral(model)
            configuration[index] = value
            configurations.append(configuration)
        travel[joint] = tuple(configurations)
    return travel


def _covering(shape: pin.GeometryObject) -> tuple[np.ndarray, float, np.ndarray | None]:
    """Centres (n, 3) and radius of spheres that cover a shape, in its frame; its corners (8, 3) if it is a box."""
    solid = shape.geometry
    kind = type(solid).__name__
    if kind == "Sphere":
        return np.zeros((1, 3)), solid.radius, None
    if kind in ("Cylinder", "Capsule"):
        radius, half = solid.radius, solid.halfLength
        if kind == "Capsule":
            half += radius  # the cylinder round it
        # Spheres a little larger than the cylinder, as far apart as lets them cover its side.
        count = max(1, int(np.ceil(half / (0.7 * radius))))
        reach = half / count
        centres = np.zeros((count, 3))
        centres[:, 2] = np.linspace(-half + reach, half - reach, count)
        return centres, float(np.hypot(radius, reach)), None
    solid.computeLocalAABB()  # meshes are covered as the box round them
    low, high = np.array(solid.aabb_local.min_), np.array(solid.aabb_local.max_)
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    size = high - low
    counts = np.maximum(1, np.ceil(size / max(2.0 * np.sort(size)[1], 1e-3))).astype(int)
    cell = size / counts
    grid = np.stack(
        np.meshgrid(*[low[i] + cell[i] * (np.arange(counts[i]) + 0.5) for i in range(3)], indexing="ij"), -1
    )
    return grid.reshape(-1, 3), float(np.linalg.norm(cell) / 2.0), corners


def _placed(place: pin.SE3, points: np.ndarray) -> np.ndarray:
    return points @ place.rotation.T + place.translation


def _swept(centres: np.ndarray, radius: float, places: list[pin.SE3]) -> tuple[np.ndarray, float]:
    """Spheres that cover a shape at every place between those given."""
    moved = np.array([_placed(place, centres) for place in places])
    gap = np.linalg.norm(np.diff(moved, axis=0), axis=2).max() / 2.0
    return moved.reshape(-1, 3), float(np.hypot(radius, gap))
