"""Episodes a second of one worker, of all, and of MuJoCo's steps alone: in turn, round after round, in one run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np

from physai_ros.evaluation.parallel import TrialCrew
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.evaluation.trials import Trial, TrialResult, TrialSettings
from physai_ros.experience.episode import Purpose
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.arm import SimulatedArm
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.tasks.catalog import load_task

Row = dict[str, Any]

_ROUNDS = 3
_FASTER = "parallel_speed_up"


class MujocoAlone:
    """The model of an episode, stepped as often as in it and nothing else: the arm holds its start posture."""

    def __init__(self, settings: TrialSettings) -> None:
        self._task, self._spec = load_task(settings.task), RobotSpec.load(settings.robot)
        self._arm = SimulatedArm(self._spec, self._task, PhysicsParameters().with_values(settings.physics))

    def steps(self, result: TrialResult) -> int:
        """Of MuJoCo, in an episode."""
        return (result.cycles - 1) * round(self._spec.control_period / self._arm.model.opt.timestep)

    def seconds(self, results: Sequence[TrialResult]) -> tuple[float, float]:
        """Wall-clock and CPU time [s] of the steps that these episodes took."""
        model, spec = self._arm.model, self._spec
        motors = [model.actuator(name).id for name in spec.joint_names]
        wall = cpu = 0.0
        for result in results:
            self._arm.reset(scenario_of(self._task, result.scenario_seed), result.scenario_seed)
            data = mujoco.MjData(model)
            data.qpos[:] = self._arm.snapshot()
            data.ctrl[motors] = spec.home_positions
            data.ctrl[model.actuator("gripper").id] = 0.5 * spec.gripper.max_width
            began, began_cpu = time.monotonic(), time.process_time()
            mujoco.mj_step(model, data, self.steps(result))
            wall += time.monotonic() - began
            cpu += time.process_time() - began_cpu
        return wall, cpu


def rollout_speed(
    settings: TrialSettings, version: str, episodes: int, seed: int, crew: TrialCrew
) -> tuple[dict[str, float], list[Row]]:
    """Figures, and one row a round: episodes by one process, by `crew`, and their steps without the rest.

    They are episodes of a version of the registry, or where it is empty of the task's expert.

    All run already when the clock starts. Figures are medians over the rounds, with the least and the largest, so that
    a busy machine is seen; CPU times tell the shares whatever else runs.
    """
    purpose = int(Purpose.EVALUATE if version else Purpose.DEMONSTRATE)
    trials = [Trial(i, s, version, purpose) for i, s in enumerate(scenario_seeds("nominal", seed, episodes))]
    alone, rows = MujocoAlone(settings), []
    with TrialCrew(1) as one:
        one.run(trials[:1], settings)
        crew.run(trials, settings)
        for _ in range(_ROUNDS):
            in_turn, seconds_one = _timed(one, trials, settings)
            beside, seconds_all = _timed(crew, trials, settings)
            seconds_mujoco, cpu_mujoco = alone.seconds(in_turn)
            same = [a.outcome() == b.outcome() for a, b in zip(in_turn, beside, strict=True)]
            rows.append(
                {
                    "kind": "speed",
                    "driver": version or "expert",
                    "task": settings.task,
                    "episodes": episodes,
                    "one_worker": episodes / seconds_one,
                    "all_workers": episodes / seconds_all,
                    "mujoco_alone": episodes / seconds_mujoco,
                    "cpu_seconds": sum(result.cpu_seconds for result in in_turn) / episodes,
                    "cpu_seconds_mujoco": cpu_mujoco / episodes,
                    "mujoco_steps": sum(alone.steps(result) for result in in_turn) / episodes,
                    "identical": sum(same) / len(same),
                }
            )
    figures = {"workers": float(crew.workers), "identical_results": min(row["identical"] for row in rows)}
    figures |= _spread("episodes_per_second_sequential", [row["one_worker"] for row in rows])
    figures |= _spread("episodes_per_second", [row["all_workers"] for row in rows])
    figures |= _spread("episodes_per_second_mujoco", [row["mujoco_alone"] for row in rows])
    figures |= _spread(_FASTER, [row["all_workers"] / row["one_worker"] for row in rows])
    return figures | _spread("mujoco_share", [row["cpu_seconds_mujoco"] / row["cpu_seconds"] for row in rows]), rows


def told(figures: Mapping[str, float]) -> str:
    """The figures in one sentence."""
    one, many, alone, faster = (
        f"{figures[name]:.3g} ({figures[f'{name}_least']:.3g} to {figures[f'{name}_most']:.3g})"
        for name in ("episodes_per_second_sequential", "episodes_per_second", "episodes_per_second_mujoco", _FASTER)
    )
    return (
        f"episodes a second: {one} by one worker, {many} by {figures['workers']:.0f}, which is {faster} times as many; "
        f"MuJoCo's steps alone would be {alone} on one core, {figures['mujoco_share']:.0%} of an episode's CPU time"
    )


def _timed(crew: TrialCrew, trials: Sequence[Trial], settings: TrialSettings) -> tuple[list[TrialResult], float]:
    began = time.monotonic()
    results = crew.run(trials, settings)
    return results, time.monotonic() - began


def _spread(name: str, values: Sequence[float]) -> dict[str, float]:
    return {name: float(np.median(values)), f"{name}_least": min(values), f"{name}_most": max(values)}
