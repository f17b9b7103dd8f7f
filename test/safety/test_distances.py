"""Distances: nothing of the arm is left out, slopes are derivatives, bounds bound; and what the YAML may say."""

from dataclasses import replace

import numpy as np
import pinocchio as pin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.shapes import arm_shape
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.volumes import HalfSpace, KeepOut, SelfDistance
from physai_ros.safety.distances import Distances
from physai_ros.safety.limits import SafetyConfigurationError, SafetyLimits

SPEC = RobotSpec.load("fr3_sim")
KINEMATICS = Kinematics(SPEC)
WALL = HalfSpace("wall", np.array([-1.0, 0.5, 0.0]), -0.8)
SHELF = KeepOut("shelf", np.array([0.2, -0.5, 0.5]), np.array([0.6, -0.3, 0.8]))
LIMITS = SafetyLimits.from_spec(SPEC, half_spaces=(*SPEC.half_spaces, WALL), keep_out=(SHELF,))
DISTANCES = Distances(LIMITS, KINEMATICS)
SEEDS = st.integers(0, 2**32 - 1)

# The URDF's own shapes, boxes and cylinders, measured by another program: what the spheres must not leave out.
MODEL = pin.buildModelFromUrdf(str(SPEC.urdf_path))
SHAPES = pin.buildGeomFromUrdf(MODEL, str(SPEC.urdf_path), pin.GeometryType.COLLISION)
LINKS = [MODEL.frames[shape.parentFrame].name for shape in SHAPES.geometryObjects]


def posture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(SPEC.position_lower, SPEC.position_upper)


def exact_self_distances(postures: np.ndarray, seed: int = 0) -> dict[frozenset, np.ndarray]:
    """Distance of every two links that are not neighbours, at any opening of the gripper."""
    shapes, generator = SHAPES.copy(), np.random.default_rng(seed)
    order = {MODEL.getJointId(name): i + 1 for i, name in enumerate(SPEC.joint_names)} | {0: 0}
    joints = [order.get(shape.parentJoint, len(SPEC.joint_names)) for shape in shapes.geometryObjects]
    pairs = [(i, j) for i in range(len(joints)) for j in range(i) if abs(joints[i] - joints[j]) >= 2]
    for i, j in pairs:
        shapes.addCollisionPair(pin.CollisionPair(j, i))
    data, found = MODEL.createData(), shapes.createData()
    names = [frozenset((LINKS[i], LINKS[j])) for i, j in pairs]
    distances = {name: np.full(len(postures), np.inf) for name in names}
    for row, positions in enumerate(postures):
        full = np.concatenate([positions, np.full(2, generator.uniform(0.0, 0.04))])
        pin.computeDistances(MODEL, data, shapes, found, full)
        for name, result in zip(names, found.distanceResults, strict=True):
            distances[name][row] = min(distances[name][row], result.min_distance)
    return distances


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_slopes_are_derivatives(seed):
    positions = posture(seed)
    sight = DISTANCES.look(positions)
    near = np.argsort(np.abs(sight.distances))[:40]
    which = np.sort(np.concatenate([near, np.random.default_rng(seed).choice(len(sight.distances), 40)]))
    slopes, step = DISTANCES.slopes(sight, which), 1e-6
    numeric = np.array(
        [
            DISTANCES.look(positions + step * turn).distances[which]
            - DISTANCES.look(positions - step * turn).distances[which]
            for turn in np.eye(7)
        ]
    ).T / (2 * step)
    # A point straight above an edge of a box has two directions out; nothing else has.
    smooth = np.abs(slopes - numeric).max(axis=1) < 1e-4
    names = np.array(DISTANCES.names)[which]
    assert smooth[[not name.startswith("keep_out") for name in names]].all()
    assert smooth.mean() > 0.95


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from([0.01, 0.1, 1.0]))
def test_no_distance_changes_faster_than_its_reach(seed, size):
    first = posture(seed)
    second = first + np.random.default_rng(seed).normal(0, size, 7)
    change = np.abs(DISTANCES.look(second).distances - DISTANCES.look(first).distances)
    bound = DISTANCES.reach @ np.abs(second - first)
    assert (change <= bound + 1e-9).all()
    assert (bound <= DISTANCES.longest @ np.abs(second - first) + 1e-9).all()


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_links_are_at_least_as_far_apart_as_the_spheres_say(seed):
    positions = posture(seed)
    exact = exact_self_distances(positions[np.newaxis], seed)
    watched = [pair for pair in exact if pair not in LIMITS.self_distance.unwatched]
    sight = DISTANCES.look(positions)
    ours = sight.distances[[name == "self_distance" for name in DISTANCES.names]].min() + LIMITS.self_distance.margin
    assert ours <= min(float(exact[pair][0]) for pair in watched) + 1e-6


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.floats(0.0, 0.04))
def test_no_link_reaches_further_than_its_extremes(seed, opening):
    positions, generator = posture(seed), np.random.default_rng(seed)
    data, places = MODEL.createData(), SHAPES.createData()
    pin.forwardKinematics(MODEL, data, np.concatenate([positions, [opening, opening]]))
    pin.updateGeometryPlacements(MODEL, data, SHAPES, places)
    normal = generator.normal(size=3)
    normal /= np.linalg.norm(normal)
    lowest = np.inf
    for shape, place in zip(SHAPES.geometryObjects, places.oMg, strict=True):
        if MODEL.frames[shape.parentFrame].name == "fr3_link0":
            continue
        solid, along = shape.geometry, place.rotation.T @ normal
        if type(solid).__name__ == "Box":
            reach = np.abs(along) @ solid.halfSide
        else:
            reach = solid.halfLength * abs(along[2]) + solid.radius * np.hypot(along[0], along[1])
        lowest = min(lowest, float(normal @ place.translation - reach))
    limits = replace(LIMITS, half_spaces=(HalfSpace("any", normal, 0.0),), keep_out=())
    distances = Distances(limits, KINEMATICS)
    ours = distances.look(positions).distances[[name == "half_space any" for name in distances.names]].min()
    assert ours <= lowest + 1e-6
    assert ours > lowest - 0.1  # nor much further


def test_pairs_that_are_not_watched_cannot_meet():
    generator = np.random.default_rng(0)
    postures = generator.uniform(SPEC.position_lower, SPEC.position_upper, (1500, 7))
    exact = exact_self_distances(postures)
    # Joint 6 alone sets the distance of these: the primitive shapes touch at the ends of its range, the arm's do not.
    by_range = frozenset(("fr3_link5", "fr3_link7"))
    for pair in SPEC.self_distance.unwatched:
        if pair != by_range:
            assert exact[pair].min() > 0.0, pair
    assert min(exact[pair].min() for pair in exact if pair not in SPEC.self_distance.unwatched) < -0.02


def test_the_arms_own_description_has_a_shape_for_every_link():
    shape = arm_shape(KINEMATICS)
    assert set(shape.spheres.links) == set(LINKS)
    assert shape.spheres.joints.max() == len(SPEC.joint_names)


def test_pairs_too_near_at_home_are_refused_with_both_numbers():
    limits = replace(LIMITS, self_distance=SelfDistance(0.4, LIMITS.self_distance.unwatched))
    with pytest.raises(
        SafetyConfigurationError, match=r"at home_positions fr3_link\d and fr3_\w+ are 0\.\d+ m apart, .*0.4 m"
    ):
        Distances(limits, KINEMATICS)


def test_unwatched_links_must_exist():
    limits = replace(LIMITS, self_distance=SelfDistance(0.01, (frozenset(("fr3_link0", "elbow")),)))
    with pytest.raises(SafetyConfigurationError, match="names elbow; links with shapes are: fr3_link0"):
        Distances(limits, KINEMATICS)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: HalfSpace("floor", np.zeros(3), 0.0), "floor.*not all zero"),
        (lambda: HalfSpace("floor", np.ones(3), float("nan")), "floor.*nan"),
        (lambda: HalfSpace("floor", np.ones(2), 0.0), "floor.*three numbers"),
        (lambda: KeepOut("shelf", np.ones(3), np.zeros(3)), "shelf.*lower below upper"),
        (lambda: SelfDistance(-1.0), "margin is -1.0"),
    ],
)
def test_what_is_no_volume_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
