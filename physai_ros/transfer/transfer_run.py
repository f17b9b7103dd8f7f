"""One crossing from simulation to a twin by one method, and the success that it is judged by."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from physai_ros.evaluation.parallel import TrialCrew
from physai_ros.evaluation.scenario_sets import scenario_seeds
from physai_ros.evaluation.statistics import clopper_pearson
from physai_ros.evaluation.trials import Trial, TrialSettings
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.twins import Twin
from physai_ros.tasks.catalog import load_task
from physai_ros.transfer.reality import TwinReality
from physai_ros.transfer.sim_to_real import Sim2RealConfig, Sim2RealResult, create_adaptive_sim2real_trainer

Row = dict[str, Any]


@dataclass(frozen=True)
class TransferPlan:
    """What is tried.

    Attributes:
        task: by name.
        twin_seed: of the twin that plays reality.
        method: one of `adaptation.METHODS`.
        real_episodes: on the twin, at most.
        seed: of scenarios, randomization and training.
        held_out: scenarios by which policies are judged, the same for all; no real episode is one of them.
        robot: configuration, by name or path.
        config: how much is done in each round.
    """

    task: str
    twin_seed: int
    method: str = "adaptive"
    real_episodes: int = 50
    seed: int = 0
    held_out: int = 60
    robot: str = "fr3_sim"
    config: Sim2RealConfig = field(default_factory=Sim2RealConfig)


class TransferRun:
    """Runs plans; policies that no twin has a part in are trained once for each task, seed and robot."""

    def __init__(self, folder: Path, crew: TrialCrew, on_event: Callable[[str], None] = lambda text: None) -> None:
        """Keep policies in `folder`, and let `crew` judge them."""
        self.registry = PolicyRegistry(folder)
        self._crew, self._on_event = crew, on_event
        self._first: dict[tuple[object, ...], str] = {}
        self._unheard: dict[tuple[object, ...], Sim2RealResult] = {}
        self._judged: dict[tuple[object, ...], int] = {}

    def run(self, plan: TransferPlan) -> tuple[Row, Sim2RealResult]:
        """What came of a plan, as one row of figures, and the result itself.

        Raises:
            ValueError: an unknown task or method, or a number that makes no sense.
        """
        began = time.monotonic()
        spec, task = RobotSpec.load(plan.robot), load_task(plan.task)
        reality = TwinReality(spec, task, self.registry, Twin.draw(plan.twin_seed))
        trainer = create_adaptive_sim2real_trainer(
            plan.task,
            reality,
            self.registry,
            method=plan.method,
            robot=plan.robot,
            config=plan.config,
            seed=plan.seed,
        )
        key = (plan.task, plan.seed, plan.robot, plan.config)
        if key not in self._first:
            self._first[key] = trainer.first_policy()
        result = self._unheard.get((plan.method, *key))
        if result is None:
            result = trainer.run(plan.real_episodes, self._first[key], self._on_event)
        if not trainer.adaptation.method.listens:
            self._unheard[(plan.method, *key)] = result
        won_sim = self._won(plan, result.first, None)
        won_before = self._won(plan, result.first, plan.twin_seed)
        checkpoints = []
        for episodes, version in sorted(result.versions.items()):
            won = self._won(plan, version, plan.twin_seed)
            checkpoints.append({"real_episodes": episodes, "success": won / plan.held_out, "version": version})
        won_after = self._won(plan, result.final, plan.twin_seed)
        lower, upper = clopper_pearson(won_after, plan.held_out)
        row = {
            "task": plan.task,
            "twin_seed": plan.twin_seed,
            "method": plan.method,
            "seed": plan.seed,
            "budget": plan.real_episodes,
            "held_out": plan.held_out,
            "success_sim": won_sim / plan.held_out,
            "success_zero_shot": won_before / plan.held_out,
            "success_final": won_after / plan.held_out,
            "success_final_lower": lower,
            "success_final_upper": upper,
            "gap_recovered": recovered(won_sim, won_before, won_after),
            "real_episodes": len(result.real_successes),
            "real_success": [bool(success) for success in result.real_successes],
            "stopped_early": result.stopped_early,
            "checkpoints": checkpoints,
            "fits": [
                {
                    "gap_before": fit.gap_before,
                    "gap_after": fit.gap_after,
                    "values": fit.values,
                    "spread": fit.spread,
                    "unidentified": list(fit.unidentified),
                }
                for fit in result.fits
            ],
            "wall_seconds": time.monotonic() - began,
        }
        return row, result

    def _won(self, plan: TransferPlan, version: str, twin: int | None) -> int:
        """Successes of a version on the held-out scenarios, in the nominal simulator or on a twin."""
        key = (version, plan.task, plan.held_out, plan.seed, plan.robot, twin)
        if key not in self._judged:
            settings = TrialSettings(plan.task, str(self.registry.folder), plan.robot, twin=twin)
            seeds = scenario_seeds("held_out", plan.seed, plan.held_out)
            trials = [Trial(index, seed, version) for index, seed in enumerate(seeds)]
            results = self._crew.run(trials, settings)
            self._judged[key] = sum(result.success for result in results)
            where = "in the nominal simulator" if twin is None else "on the twin"
            self._on_event(f"version {version} succeeds {where} in {self._judged[key]} of {plan.held_out}")
        return self._judged[key]


def recovered(simulated: float, before: float, after: float) -> float:
    """Share of the gap between simulation and reality that was recovered; NaN where there was none."""
    return (after - before) / (simulated - before) if simulated > before else math.nan
