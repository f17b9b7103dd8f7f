"""What changing the policy costs a moving arm: versions taken in mid-episode, one after the other, by the evaluator."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import torch

from physai_ros.cli.control_tap import ControlTap
from physai_ros.cli.latency_record import LatencyRecord
from physai_ros.msg import RobotAction, SafeCommand
from physai_ros.policy.network import RobotPolicyNetwork
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.spec import RobotSpec
from physai_ros.ros.graph_monitor import GraphMonitor
from physai_ros.srv import RollbackPolicy

VERSIONS = 6
"""More than the inference keeps loaded: every swap is read, verified and warmed up anew."""
ROUNDS = 4
"""Times the asked-for length, at most, until so many versions changed in mid-episode."""
Windows = Sequence[tuple[float, float]]
_DIFFERENCE = 1e-3  # of the weights, as a share: the arm goes on to do its task


def add_versions(registry: PolicyRegistry) -> list[str]:
    """Versions that differ a little from the active one and from each other, to be taken in turn."""
    active = registry.load(registry.current()[0])
    manifest, generator = active.manifest, torch.Generator().manual_seed(0)
    versions = []
    for _ in range(VERSIONS):
        network = RobotPolicyNetwork(manifest.architecture)
        network.load_state_dict(active.network.state_dict())
        with torch.no_grad():
            for weights in network.parameters():
                weights.mul_(1.0 + _DIFFERENCE * torch.randn(weights.shape, generator=generator))
        added = registry.add(
            network, task=manifest.task, action_axes=manifest.action_axes, action_scale=manifest.action_scale
        )
        versions.append(added.version)
    return versions


class SwapLog:
    """Who acted and what was commanded, cycle by cycle."""

    def __init__(self, tap: ControlTap, spec: RobotSpec) -> None:
        self._spec = spec
        self._before: RobotAction | None = None
        self._path: deque[SafeCommand] = deque(maxlen=4)
        self._changes: list[tuple[float, int, int]] = []
        self._jerks: list[tuple[float, float]] = []
        tap.hooks.append(self._hear)

    def changes(self, windows: Windows) -> list[tuple[int, int]]:
        """First and last measurement between the last action of one version and the first of another, in an episode."""
        return [(first, last) for instant, first, last in self._changes if _within(instant, windows)]

    def jerk(self, windows: Windows) -> float:
        """Largest jerk of what was permitted to the policy, as a share of the limit; of four commands in a row."""
        return max((jerk for instant, jerk in self._jerks if _within(instant, windows)), default=float("nan"))

    def _hear(self, message: object, instant: float) -> None:
        if isinstance(message, RobotAction):
            before, self._before = self._before, message
            if before is None or before.episode_id != message.episode_id:
                return
            if before.policy_version != message.policy_version:
                self._changes.append((instant, before.state_sequence + 1, message.state_sequence))
        elif isinstance(message, SafeCommand):
            self._path.append(message)
            numbers = [command.state_sequence for command in self._path]
            by_policy = all(command.source == SafeCommand.SOURCE_POLICY for command in self._path)
            if by_policy and len(numbers) == 4 and numbers == list(range(numbers[0], numbers[0] + 4)):
                third = np.diff([command.positions for command in self._path], n=3, axis=0)[0]
                jerk = np.abs(third) / self._spec.control_period**3 / self._spec.jerk_limits
                self._jerks.append((instant, float(jerk.max())))


def swapping(monitor: GraphMonitor, versions: list[str], interval: float) -> Iterator[None]:
    """Ask for one swap after the other, one every `interval` [s] where the evaluator keeps up; yields while it waits.

    Raises:
        RuntimeError: the evaluator refused one.
    """
    begin = time.monotonic()
    for number, version in enumerate(cycle(versions)):
        while time.monotonic() < begin + (number + 0.5) * interval:
            yield
        request = RollbackPolicy.Request(version=version, reason="a measurement of swaps")
        response = monitor.call(RollbackPolicy, "rollback_policy", request, timeout=20.0)
        if not response.accepted:
            raise RuntimeError(f"the evaluator did not take version {version}: {response.message}")


def swap_figures(
    record: LatencyRecord, log: SwapLog, deadline: float, still: Windows, swapped: Windows
) -> dict[str, Any]:
    """What was measured while versions changed, to stand beside the same run without."""
    row = record.figures(deadline, swapped)
    changes = log.changes(swapped)
    late = sum(record.missed(range(first, last + 1), deadline) > 0 for first, last in changes)
    names = ("p50_ms", "p99_ms", "max_ms", "missed_share", "measurements", "answered")
    return {f"swaps_{name}": row[name] for name in names} | {
        "swaps_in_motion": len(changes),
        "swaps_seconds": sum(end - begin for begin, end in swapped),
        "swaps_late": late,
        "swaps_late_share": late / len(changes) if changes else float("nan"),
        "swaps_jerk_of_limit": log.jerk(swapped),
        "jerk_of_limit": log.jerk(still),
    }


def _within(instant: float, windows: Windows) -> bool:
    return any(begin <= instant < end for begin, end in windows)
