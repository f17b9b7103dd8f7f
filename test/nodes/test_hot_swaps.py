"""Policies change in mid-episode while the arm moves: no command jumps, and one that cannot be used changes nothing.

What is asserted is the content of what was commanded; how swaps show in times, `physai bench latency --swaps` measures.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from std_srvs.srv import Trigger

from physai_ros import msg
from physai_ros.policy.network import RobotPolicyNetwork
from physai_ros.policy.registry import MANIFEST, WEIGHTS, PolicyRegistry
from physai_ros.robot.spec import RobotSpec
from physai_ros.ros import qos
from physai_ros.tasks.catalog import load_task

SPEC = RobotSpec.load("fr3_sim")
SEEDS = (3, 4, 5, 6, 7, 8)  # more than the inference keeps loaded
NODES = ("driver_node", "sensor_fusion", "policy_inference", "safety_monitor", "episode_manager")


class Swapping:
    """A graph whose arm moves, and the test in the place of its evaluator."""

    def __init__(self, graph, folder: Path, mode: str) -> None:
        self.graph, self.registry = graph, PolicyRegistry(folder)
        graph.start("driver_node", task="reach", mode=mode)
        graph.start("sensor_fusion", task="reach")
        graph.start("policy_inference", task="reach", mode=mode, registry=folder)
        graph.start("safety_monitor")
        graph.start("episode_manager", task="reach", registry=folder, episodes=1_000_000, feedback_timeout=0.2)
        self.actions = graph.hear(msg.RobotAction, "proposed_action", qos.RECORD)
        self.commands = graph.hear(msg.SafeCommand, "safe_command", qos.RECORD)
        self.safety = graph.hear(msg.SafetyStatus, "safety_status", qos.EVENT)
        self.said = graph.hear(DiagnosticArray, "/diagnostics", qos.EVENT)
        self._updates = graph.node.create_publisher(msg.PolicyUpdate, "policy_update", qos.LATCHED)
        graph.bring_up(*NODES)
        graph.wait(lambda: len(self.actions) > 50)

    def announce(self, version: str, break_it: Callable[[Path], None] = lambda _folder: None) -> None:
        """Make a version the active one, in mid-episode; what becomes of its files before anybody reads them."""
        activation = self.registry.activate(version, verdict="rollback")
        break_it(self.registry.folder / version)
        self._updates.publish(
            msg.PolicyUpdate(generation=activation.generation, version=version, verdict="rollback", immediate=True)
        )

    def swap(self, times: int) -> None:
        """Go from version to version until so many changes came in the middle of an episode."""
        versions, turn = self.registry.versions()[: len(SEEDS)], 0
        while len(self.changes()) < times:
            turn += 1
            version = versions[turn % len(versions)]
            self.announce(version)
            self.graph.wait(lambda wanted=version: self._moves() and self.actions[-1].policy_version == wanted)

    def _moves(self) -> bool:
        """Whether the arm may move; one that was stopped, as by a machine that was late, is resumed."""
        if not self.safety or self.safety[-1].state != msg.SafetyStatus.STOPPED:
            return True
        del self.safety[:]
        self.graph.call(Trigger, "resume", Trigger.Request())
        return False

    def changes(self) -> list[tuple[msg.RobotAction, msg.RobotAction]]:
        """Pairs of actions, one after the other in one episode, that are not by one version."""
        pairs = zip(self.actions, self.actions[1:], strict=False)
        return [(a, b) for a, b in pairs if a.episode_id == b.episode_id and a.policy_version != b.policy_version]

    def problem(self) -> str:
        """What the inference said last of a version that it could not use."""
        own = [status for array in list(self.said) for status in array.status if status.hardware_id == NODES[2]]
        values = [pair.value for status in own[-1:] for pair in status.values if pair.key == "problem"]
        return values[-1] if values else ""


def judged(commands: list[msg.SafeCommand]) -> int:
    """How many commands were compared with the three before them, none of which may break the limit of jerk."""
    count = 0
    for four in zip(*(commands[i:] for i in range(4)), strict=False):
        numbers = [command.state_sequence for command in four]
        by_policy = all(command.source == msg.SafeCommand.SOURCE_POLICY for command in four)
        if numbers != list(range(numbers[0], numbers[0] + 4)) or not by_policy:
            continue  # the machine was late, or an episode began: there is no third difference
        jerk = np.diff([command.positions for command in four], n=3, axis=0)[0] / SPEC.control_period**3
        assert (np.abs(jerk) <= SPEC.jerk_limits * (1 + 1e-6)).all(), numbers
        count += 1
    return count


def assert_smooth(swapping: Swapping) -> None:
    """No command of the run jumps, and the policy's steps are numbered on over every swap."""
    commands, actions = list(swapping.commands), list(swapping.actions)
    assert judged(commands) > 0.1 * len(actions)
    assert np.ptp([command.positions for command in commands], axis=0).max() > 0.02  # it did move
    assert [action.sequence for action in actions] == list(range(actions[0].sequence, actions[-1].sequence + 1))
    numbers = [action.state_sequence for action in actions]
    assert all(before < after for before, after in zip(numbers, numbers[1:], strict=False))


@pytest.fixture
def folder(make_registry, tmp_path: Path) -> Path:
    return make_registry(tmp_path / "registry", SEEDS)


def corrupt(folder: Path) -> None:
    """One bit of the weights is not as it was."""
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)


def age(folder: Path) -> None:
    """As an older release wrote it, whose observations had another layout."""
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"observation_layout": "poses-1"}))


def add(registry: PolicyRegistry, task_name: str) -> str:
    """Another version of the first one's size, for a task."""
    task, network = load_task(task_name), registry.load("000001").network
    copied = RobotPolicyNetwork(network.architecture, seed=9)
    return registry.add(copied, task=task.name, action_axes=task.action_axes, action_scale=task.action_scale).version


def test_swaps_in_motion_make_no_jump_and_what_cannot_be_used_is_refused(graph, folder):
    swapping = Swapping(graph, folder, "paced")
    swapping.swap(10)
    in_force = swapping.actions[-1].policy_version
    for task, break_it, reason in (
        ("reach", corrupt, "is corrupted"),
        ("pick_place", lambda _folder: None, "was trained for task 'pick_place'"),
        ("reach", age, "observations of layout 'poses-1'"),
    ):
        swapping.announce(add(swapping.registry, task), break_it)
        graph.wait(lambda wanted=reason: wanted in swapping.problem())
        acted = len(swapping.actions)
        graph.wait(lambda before=acted: len(swapping.actions) > before + 30)
        assert {action.policy_version for action in swapping.actions[acted:]} == {in_force}
    assert_smooth(swapping)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["paced", "lock_step"])
def test_two_hundred_swaps_in_motion(graph, folder, mode):
    swapping = Swapping(graph, folder, mode)
    swapping.swap(200)
    assert_smooth(swapping)
    if mode == "lock_step":  # where time waits for answers, it can be said that none was left out
        commands = {command.state_sequence: command for command in swapping.commands}
        for before, after in swapping.changes():
            assert after.state_sequence == before.state_sequence + 1
            assert commands[after.state_sequence].source == msg.SafeCommand.SOURCE_POLICY
