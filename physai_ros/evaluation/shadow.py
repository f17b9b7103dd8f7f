"""A candidate looks at what was recorded, before it is let near an arm: does it act, sanely, and fast enough?"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.policy.network import RobotPolicyNetwork
from physai_ros.policy.observation import ObservationEncoder
from physai_ros.policy.registry import Policy
from physai_ros.robot.cartesian_reference import CYCLES_PER_STEP


@dataclass(frozen=True)
class ShadowReport:
    """What a shadow run saw.

    Attributes:
        observations: decisions made on recorded observations.
        not_finite: of these, with a value that is not finite.
        out_of_range: of these, with an action outside -1 ... 1.
        parity: largest difference between what acts and the network in torch, in action units.
        latency_p99: 99th percentile of a decision's time [s].
        mean_change: mean distance from what was done in the recording, in action units; for information.
        problem: why the candidate must not act; empty if nothing speaks against it.
    """

    observations: int
    not_finite: int
    out_of_range: int
    parity: float
    latency_p99: float
    mean_change: float
    problem: str = ""


def recorded_observations(
    episodes: Iterable[Episode], encoder: ObservationEncoder, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """Observations (n, size) at the policy steps of episodes, and what was done then (n, 6 + 1), `limit` at most."""
    seen, done = [], []
    for episode in episodes:
        encoder.reset()
        steps = (episode.series["sequence"].astype(np.int64) - episode.context.start_sequence) // CYCLES_PER_STEP
        goal = np.array(episode.context.goal)
        for row in np.flatnonzero(np.diff(steps, prepend=-1) > 0):
            seen.append(encoder.encode(episode.state(int(row)), goal))
            done.append([*episode.series["action_ee_delta"][row], episode.series["action_gripper"][row]])
            if len(seen) >= limit:
                return np.array(seen), np.array(done)
    return np.array(seen), np.array(done).reshape(len(done), 7)


def shadow_run(
    policy: Policy, observations: np.ndarray, done: np.ndarray, *, latency_limit: float = 0.01, tolerance: float = 1e-3
) -> ShadowReport:
    """Report of a policy's decisions on recorded observations (n, size), beside what was done (n, 7).

    `latency_limit` [s] is a control cycle: a slower policy would miss it. `tolerance` bounds the difference between the
    network that was trained and the copy that acts, in action units.
    """
    if len(observations) == 0:
        return ShadowReport(0, 0, 0, 0.0, 0.0, float("nan"))
    size = policy.manifest.architecture.observation_size
    if observations.shape[1] != size:
        problem = f"observations have {observations.shape[1]} numbers, the policy expects {size}: it is of another task"
        return ShadowReport(len(observations), 0, 0, 0.0, 0.0, float("nan"), problem)
    actions, times = [], []
    for observation in observations:
        began = time.perf_counter()
        actions.append(policy.predict(observation).actions[0])
        times.append(time.perf_counter() - began)
    decided = np.array(actions)
    not_finite = int((~np.isfinite(decided).all(axis=1)).sum())
    out_of_range = int((np.abs(np.nan_to_num(decided)) > 1.0 + 1e-6).any(axis=1).sum())
    parity = float(np.abs(decided - _by_torch(policy.network, observations)).max())
    latency = float(np.percentile(times, 99))
    manifest = policy.manifest
    meant = np.column_stack([done[:, list(manifest.action_axes)] / np.array(manifest.action_scale), done[:, -1]])
    change = float(np.nanmean(np.linalg.norm(decided - meant, axis=1)))
    problem = ""
    if not_finite:
        problem = f"{not_finite} of {len(decided)} decisions are not finite"
    elif out_of_range:
        problem = f"{out_of_range} of {len(decided)} decisions lie outside -1 ... 1"
    elif not parity <= tolerance:
        problem = (
            f"what acts differs from what was trained by {parity:.2g} action units; at most {tolerance:g} is allowed"
        )
    elif latency > latency_limit:
        problem = (
            f"a decision takes {1e3 * latency:.1f} ms (99th percentile); "
            f"at most {1e3 * latency_limit:.1f} ms is allowed"
        )
    return ShadowReport(len(decided), not_finite, out_of_range, parity, latency, change, problem)


def _by_torch(network: RobotPolicyNetwork, observations: np.ndarray) -> np.ndarray:
    """First actions (n, action_size) by the framework that trained the network."""
    import torch

    with torch.no_grad():
        output = network(torch.as_tensor(observations, dtype=torch.float32))
    return np.clip(output.actions.mean(dim=1)[:, 0].numpy(), -1.0, 1.0)
