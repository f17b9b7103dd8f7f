"""The runtime: the grid of policy steps, repeats, losses, interrupts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from physai_ros.policy.acting import ActingNetwork
from physai_ros.policy.network import Architecture, Prediction, RobotPolicyNetwork
from physai_ros.policy.observation import ObservationEncoder
from physai_ros.policy.registry import PolicyFileError, PolicyRegistry
from physai_ros.policy.runtime import PolicyRuntime
from physai_ros.robot.action import RobotAction

AXES, SCALE = (0, 1, 2, 5), (0.025, 0.025, 0.025, 0.12)
GOAL = (0.5, -0.1, 0.02)


class Acting:
    """An untrained policy that remembers what it saw."""

    version = "000001"
    decision_time = 0.0

    def __init__(self, size: int, seed: int = 3) -> None:
        self.network = ActingNetwork(RobotPolicyNetwork(Architecture(size, 5), seed=seed))
        self.seen: list[np.ndarray] = []

    def predict(self, observation: np.ndarray) -> Prediction:
        """Prediction of the untrained network."""
        self.seen.append(observation)
        return self.network.predict(observation)


@pytest.fixture
def runtime(spec, kinematics, features, make_state) -> PolicyRuntime:
    size = len(ObservationEncoder(kinematics, features, AXES, SCALE).encode(make_state(), np.array(GOAL)))
    return PolicyRuntime(spec, kinematics, features, AXES, SCALE, Acting(size))


def play(runtime: PolicyRuntime, make_state: Callable, count: int, start: int = 7) -> list[RobotAction]:
    runtime.start_episode(GOAL, "episode", start)
    positions, actions = None, []
    for sequence in range(start, start + count):
        actions.append(runtime.act(make_state(sequence, positions)))
        positions = actions[-1].reference_positions
    return actions


def test_it_decides_every_ten_cycles_from_the_start_sequence(runtime, make_state):
    actions = play(runtime, make_state, 35)
    assert len(runtime.policy.seen) == 4
    assert [a.chunk_id - actions[0].chunk_id for a in actions[::10]] == [0, 1, 2, 3]


def test_the_same_states_give_the_same_actions(runtime, make_state):
    first, second = play(runtime, make_state, 40), play(runtime, make_state, 40)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.reference_positions, b.reference_positions)
        assert a.gripper_command == b.gripper_command


def test_a_repeated_state_gets_the_same_answer(runtime, make_state):
    runtime.start_episode(GOAL, "episode", 0)
    first = runtime.act(make_state(0))
    assert runtime.act(make_state(0)) is first
    assert runtime.act(make_state(1)).sequence == first.sequence + 1


def test_lost_states_cost_cycles_not_decisions(runtime, make_state):
    runtime.start_episode(GOAL, "episode", 0)
    for sequence in (0, 1, 2, 5, 13, 14, 29, 31):
        runtime.act(make_state(sequence))
    assert len(runtime.policy.seen) == 4  # steps 0, 1, 2 and 3, each at its first state that came


def test_deltas_add_up_to_the_reference(runtime, make_state, spec):
    actions = play(runtime, make_state, 30)
    total = sum(action.joint_delta for action in actions)
    np.testing.assert_allclose(spec.home_positions + total, actions[-1].reference_positions, atol=1e-9)


def test_after_an_interrupt_it_starts_from_the_set_point_in_force(runtime, make_state, spec):
    play(runtime, make_state, 15)
    elsewhere = spec.home_positions + 0.1
    runtime.interrupt()
    action = runtime.act(make_state(7 + 15, elsewhere))
    assert np.abs(action.reference_positions - elsewhere).max() < 0.01
    assert not action.ee_delta.any()  # what was being played is dropped; the next policy step decides anew


def test_observation_goes_on_while_interrupted(runtime, make_state):
    runtime.start_episode(GOAL, "episode", 0)
    for sequence in range(40):
        runtime.interrupt()
        runtime.act(make_state(sequence))
    assert len(runtime.policy.seen) == 4


def test_without_a_policy_it_says_so(spec, kinematics, features, make_state):
    with pytest.raises(RuntimeError, match="no policy is loaded"):
        PolicyRuntime(spec, kinematics, features, AXES, SCALE).act(make_state())


def test_a_policy_of_other_axes_is_refused_and_the_one_in_force_stays(runtime, tmp_path):
    registry = PolicyRegistry(tmp_path)
    network = RobotPolicyNetwork(Architecture(9, 4))
    version = registry.add(network, task="reach", action_axes=(0, 1, 2), action_scale=(0.02,) * 3).version
    before = runtime.policy
    with pytest.raises(PolicyFileError, match="reach"):
        runtime.load(registry, version)
    assert runtime.policy is before


def test_two_hundred_swaps_miss_no_state_and_make_no_step(runtime, make_state, spec):
    """Whenever another policy takes over the reference goes on as it moves, and what it is told it does smoothly."""
    size = runtime.policy.network.architecture.observation_size
    policies = [Acting(size, seed) for seed in range(4)]
    for number, policy in enumerate(policies):
        policy.version = f"{number:06d}"
    runtime.start_episode(GOAL, "episode", 0)
    positions, references, versions = None, [spec.home_positions] * 2, []
    for sequence in range(1400):
        if sequence % 7 == 3:
            runtime.policy = policies[(sequence // 7) % 4]
        action = runtime.act(make_state(sequence, positions))
        positions = action.reference_positions
        references.append(positions)
        versions.append(action.policy_version)
        assert action.state_sequence == sequence
    assert sum(before != after for before, after in zip(versions, versions[1:], strict=False)) >= 199
    accelerations = np.abs(np.diff(references, n=2, axis=0)) / spec.control_period**2
    assert (accelerations <= spec.acceleration_limits * (1 + 1e-6)).all()
