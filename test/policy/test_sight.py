"""What a policy sees: the newest pictures in time, each camera by itself, and nothing is waited for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from physai_ros.policy.acting import SensingNetwork
from physai_ros.policy.encoder import EncoderShape
from physai_ros.policy.network import Architecture, RobotPolicyNetwork
from physai_ros.policy.observation import ObservationEncoder
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.policy.runtime import PolicyRuntime
from physai_ros.policy.sight import CameraMemory
from physai_ros.robot.action import RobotAction

AXES, SCALE = (0, 1, 2, 5), (0.025, 0.025, 0.025, 0.12)
GOAL = (0.5, -0.1, 0.02)
TWO = EncoderShape.of_observation(6, 4, (12, 12, 6), features=16, cameras=("scene", "wrist"))


def picture(value: int, size: int = 12) -> np.ndarray:
    return np.full((size, size, 3), value, dtype=np.uint8)


@given(st.lists(st.floats(0.0, 0.2), min_size=1, max_size=20))
def test_the_newest_picture_counts_in_whatever_order_they_come(stamps):
    memory = CameraMemory(timeout=0.25)
    for number, stamp in enumerate(stamps):
        memory.add("scene", stamp, picture(number))
    glimpse = memory.at(0.2, TWO)
    assert glimpse.seen.tolist() == [True, False]
    assert glimpse.ages[0] == pytest.approx(0.2 - max(stamps))
    assert glimpse.image[0, 0, 0] == stamps.index(max(stamps))
    assert not glimpse.image[..., 3:].any()
    assert glimpse.reasons == {"wrist": "no picture yet"}


def test_stale_early_and_ill_sized_pictures_are_not_seen_and_say_why():
    memory = CameraMemory(timeout=0.25)
    memory.add("scene", 1.0, picture(1))
    memory.add("wrist", 1.0, picture(1, size=24))
    assert memory.at(1.1, TWO).seen.tolist() == [True, False]
    assert "set the fusion's image size" in memory.at(1.1, TWO).reasons["wrist"]
    assert "0.500 s old" in memory.at(1.5, TWO).reasons["scene"]
    assert "ahead" in memory.at(0.5, TWO).reasons["scene"]
    memory.add("scene", 0.1, picture(2))  # its clock started again
    assert memory.at(0.1, TWO).image[0, 0, 0] == 2
    assert memory.shows(("scene",), 0.1)
    assert not memory.shows(("scene",), 0.2)
    assert not memory.shows(("scene", "gripper"), 0.1)


def test_each_camera_is_a_modality_of_its_own():
    network = RobotPolicyNetwork(Architecture(TWO.vector_size, 5, senses=TWO)).eval()
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(1, TWO.vector_size, generator=generator)
    image = torch.randint(0, 256, (1, 12, 12, 6), generator=generator, dtype=torch.uint8)
    seen = torch.tensor([[True, False]])
    one = network(vector, image, seen).actions
    other = image.clone()
    other[..., 3:] = 0
    assert torch.equal(one, network(vector, other, seen).actions)
    other[..., :3] = 255 - image[..., :3]
    assert not torch.equal(one, network(vector, other, seen).actions)
    torch.testing.assert_close(network(vector, image, torch.zeros(1, 2)).actions, network(vector).actions)
    torch.testing.assert_close(network(vector, image, torch.ones(1, 2)).actions, network(vector, image).actions)


def test_what_a_policy_is_blind_to_changes_nothing():
    shape = EncoderShape.of_observation(6, 4, (12, 12, 3), features=16, blind_to=("task",))
    architecture = Architecture(shape.vector_size, 5, senses=shape)
    assert not architecture.needs_objects
    assert EncoderShape.from_dict(architecture.to_dict()["senses"]) == shape
    acting = SensingNetwork(RobotPolicyNetwork(architecture))
    vector = np.random.default_rng(0).normal(size=shape.vector_size).astype(np.float32)
    vector[shape.marks] = 1.0
    other = vector.copy()
    other[shape.proprioception + shape.tactile : -5] += 7.0
    np.testing.assert_array_equal(acting.predict(vector).actions, acting.predict(other).actions)


def test_who_is_blind_is_told_the_goal_and_nothing_of_the_rest():
    """Also while perception is silent: the mark of the task is for what is not told."""
    told = (1, 8)
    shape = EncoderShape.of_observation(6, 4, (12, 12, 3), features=16, blind_to=("task",), told=told)
    architecture = Architecture(shape.vector_size, 5, senses=shape)
    assert not architecture.needs_objects
    assert EncoderShape.from_dict(architecture.to_dict()["senses"]) == shape
    acting = SensingNetwork(RobotPolicyNetwork(architecture))
    vector = np.random.default_rng(0).normal(size=shape.vector_size).astype(np.float32)
    vector[shape.marks] = 1.0
    picture = np.zeros((12, 12, 3), np.uint8)
    before = acting.predict(vector, picture).actions
    for place in range(shape.task):
        other = vector.copy()
        other[shape.proprioception + shape.tactile + place] += 3.0
        for mark in (1.0, 0.0):
            other[-1] = mark
            same = np.array_equal(acting.predict(other, picture).actions, before)
            assert same == (place not in told)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image": (8, 8, 3), "cameras": ("a", "b")}, "6"),
        ({"blind_to": ("smell",)}, "smell"),
        ({"cameras": ("a",)}, "3"),
        ({"task": 4, "told": (1,)}, "be blind to task"),
        ({"task": 4, "blind_to": ("task",), "told": (4,)}, "name some of it"),
    ],
)
def test_shapes_that_cannot_be_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        EncoderShape(4, **changes)


def test_the_runtime_acts_on_what_the_cameras_show_and_says_how_old_it_is(
    tmp_path, spec, kinematics, features, make_state
):
    size = len(ObservationEncoder(kinematics, features, AXES, SCALE).encode(make_state(), np.array(GOAL)))
    assert size == TWO.vector_size
    registry = PolicyRegistry(tmp_path)
    version = registry.add(
        RobotPolicyNetwork(Architecture(size, 5, senses=TWO)), task="any", action_axes=AXES, action_scale=SCALE
    ).version
    runtime = PolicyRuntime(spec, kinematics, features, AXES, SCALE)
    runtime.load(registry, version)

    def act(*pictures: tuple[str, float, int]) -> RobotAction:
        runtime.start_episode(GOAL, "episode", 0)
        runtime.cameras.reset()
        for camera, stamp, value in pictures:
            runtime.cameras.add(camera, stamp, picture(value))
        return runtime.act(make_state(0, stamp=1.0))

    dark, light = act(), act(("scene", 0.95, 200), ("wrist", 0.9, 90))
    assert (dark.observation_stamp, light.observation_stamp) == (1.0, 0.9)
    assert not np.array_equal(dark.ee_delta, light.ee_delta)
    assert not np.array_equal(light.ee_delta, act(("scene", 0.95, 20), ("wrist", 0.9, 90)).ee_delta)
    stale = act(("scene", 0.1, 200), ("wrist", 0.1, 90))
    np.testing.assert_array_equal(stale.ee_delta, dark.ee_delta)
    assert set(runtime.glimpse.reasons) == {"scene", "wrist"}
