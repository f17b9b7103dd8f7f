"""The experiment behind the demonstration: what is prepared, measured and kept, without ROS and without a screen."""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from physai_ros import __version__
from physai_ros.evaluation import protocol
from physai_ros.evaluation.parallel import TrialCrew
from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.run_record import (
    ActivationSample,
    EpisodeRow,
    HeldOutEvaluation,
    PolicyChange,
    RunRecord,
)
from physai_ros.evaluation.statistics import clopper_pearson
from physai_ros.evaluation.trials import TrialSettings
from physai_ros.evaluation.verdict import compare
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.physics import PhysicsParameters, shifted_arm
from physai_ros.tasks.catalog import load_task
from physai_ros.training.actor_critic_config import ActorCriticConfig
from physai_ros.training.config import TrainerConfig
from physai_ros.transfer.control_arm import ControlArm, result_of, start
from physai_ros.transfer.first_policy import NOISE, first_policy

MARGIN = 0.2
"""Loss in success, in the nominal simulator, up to which a candidate is taken: what helps on the arm may cost there."""
PROMOTION_PAIRS, MOST_PROMOTION_PAIRS = 12, 24
CANDIDATE_EVERY = 9
WARM_START_UPDATES = 1000
_CRITICS_UPDATES = 150
"""After each episode: critics learn more from it than imitation can."""


class Bars(Protocol):
    """Progress bars, as rich's `Progress` has them."""

    def add_task(self, description: str, *, total: float) -> int:
        """A new bar."""

    def update(self, bar: int, *, completed: float) -> None:
        """Move a bar."""


@dataclass(frozen=True)
class DemoPlan:
    """What the demonstration does; `folder` is of this run alone."""

    task: str
    folder: Path
    seed: int
    episodes: int
    demonstrations: int
    held_out: int
    parity: int
    sampler: str
    curriculum: str
    operator: bool
    controls: bool
    robot: str = "fr3_sim"
    objective: str = "bc"
    practice: bool = False

    @property
    def config(self) -> TrainerConfig:
        """The recipe of the trainer."""
        more = {"updates_per_episode": _CRITICS_UPDATES} if self.objective == "actor_critic" else {}
        return TrainerConfig.of_objective(
            self.objective,
            sampler=self.sampler,
            seed=self.seed,
            warm_start_updates=WARM_START_UPDATES,
            rl=ActorCriticConfig(delicate=load_task(self.task).delicate),
            **more,
        )


@dataclass
class Measured:
    """What is filled in while the graph runs."""

    episodes: list[EpisodeRow] = field(default_factory=list)
    changes: list[PolicyChange] = field(default_factory=list)
    activation: list[ActivationSample] = field(default_factory=list)


class DemoRun:
    """The steps of the experiment in order; `measured` is filled by whoever runs the graph in between.

    Set `bars` before a step, and close it in the end.
    """

    bars: Bars

    def __init__(self, plan: DemoPlan) -> None:
        self.plan = plan
        self.measured = Measured()
        self.physics: Mapping[str, float] = shifted_arm(plan.seed).values()
        self.registry = PolicyRegistry(plan.folder / "registry")
        self.first_version = self.final_version = ""
        self._evaluations: dict[str, HeldOutEvaluation] = {}
        self._controls: dict[str, subprocess.Popen[str]] = {}
        self._crew = TrialCrew(2)
        self._began = time.monotonic()
        self._started = time.strftime("%Y-%m-%d %H:%M:%S")

    @property
    def elapsed(self) -> float:
        """Time since the run began [s]."""
        return time.monotonic() - self._began

    def rollout(self, *, shifted: bool) -> Rollout:
        """The arm of the run, or the nominal simulator, in this process."""
        physics = PhysicsParameters().with_values(dict(self.physics) if shifted else {})
        return Rollout(RobotSpec.load(self.plan.robot), load_task(self.plan.task), physics=physics)

    def first_policy(self) -> None:
        """Demonstrations in the nominal simulator, and the policy that imitates them."""
        plan = self.plan
        shown = self.bars.add_task("demonstrations in the nominal simulator", total=plan.demonstrations)
        taught = self.bars.add_task("first policy", total=WARM_START_UPDATES)
        rollout = self.rollout(shifted=False)
        self.first_version = self.final_version = first_policy(
            rollout,
            plan.folder,
            plan.config,
            demonstrations=plan.demonstrations,
            seed=plan.seed,
            noise=NOISE,
            on_demonstration=lambda done, _total: self.bars.update(shown, completed=done),
            on_update=lambda done, _total: self.bars.update(taught, completed=done),
        )
        rollout.close()

    def evaluate(self, label: str, role: str, version: str, registry: Path | None = None, start: int = 0) -> None:
        """Success of a version on the held-out scenarios, on the shifted arm, outside the graph.

        Control arms get half as many: what they cost is time in which nothing is learned.
        """
        plan = self.plan
        count = -(-plan.held_out // 2) if role == "control" else plan.held_out
        bar = self.bars.add_task(f"evaluation: {label}"[:44], total=count)
        done = 0

        def on_result(_result: object) -> None:
            nonlocal done
            done += 1
            self.bars.update(bar, completed=done)

        request = protocol.EvaluationRequest(version, plan.task, "", "held_out", count, "sim", plan.seed, start=start)
        folder = str(registry or self.registry.folder)
        settings = TrialSettings(plan.task, folder, plan.robot, dict(self.physics))
        results = protocol.evaluate(request, settings, crew=self._crew, on_result=on_result).results
        self._evaluations[label] = HeldOutEvaluation(
            label,
            role,
            version,
            tuple(result.scenario_seed for result in results),
            tuple(result.success for result in results),
            after_episodes=0 if role == "before" else len(self.measured.episodes),
            wall_time=self.elapsed,
        )

    def successes(self, label: str) -> tuple[bool, ...]:
        """Held-out successes of an evaluation that was made."""
        return self._evaluations[label].successes

    def rate(self, label: str) -> str:
        """Success of an evaluation in words."""
        won = sum(self.successes(label))
        lower, upper = clopper_pearson(won, self.plan.held_out)
        return f"{won / self.plan.held_out:.0%} (95 %: {lower:.0%} to {upper:.0%})"

    def close(self) -> None:
        """End whatever still runs in processes of this run's own: evaluations and control arms."""
        self._crew.close()
        for process in self._controls.values():
            process.kill()
            process.wait()

    def start_controls(self) -> None:
        """Let the control arms learn, each in a process; they differ in what their name says.

        They take what CPU time is left: a graph in lock-step, where one process waits for the other, leaves some.
        """
        if self.plan.controls:
            arms = _control_arms(self.plan)
            self._controls = {name: start(self._arm(name, changes)) for name, changes in arms.items()}

    def finish_controls(self) -> None:
        """Wait for the control arms, and judge what became of each."""
        self.evaluate("trainer off", "control", self.first_version, start=self.plan.held_out)
        for name, process in self._controls.items():
            bar = self.bars.add_task(f"control: {name}"[:44], total=self.plan.episodes)
            result = result_of(process, self._advance(bar))
            self.evaluate(name, "control", result.version, self._arm_folder(name))

    def film_seed(self) -> int | None:
        """A held-out scenario that failed before and succeeded after, None if there is none."""
        before, after = self._evaluations["before"], self._evaluations["after"]
        changed = (s for s, b, a in zip(before.seeds, before.successes, after.successes, strict=True) if a and not b)
        return next(changed, None)

    def figures(self) -> dict[str, float]:
        """The figures that do not need the graph."""
        plan, before, after = self.plan, self.successes("before"), self.successes("after")
        gain = compare(after, before)
        train = [row for row in self.measured.episodes if row.purpose == "train"]
        lower, upper = clopper_pearson(sum(after), len(after))
        control = lambda name: _rate(self._evaluations[name].successes) if name in self._evaluations else math.nan  # noqa: E731
        return {
            "success_before": _rate(before),
            "success_after": _rate(after),
            "success_after_lower": lower,
            "success_after_upper": upper,
            "gain": _rate(after) - _rate(before),
            "gain_lower": gain.gain_lower,
            "gain_upper": gain.gain_upper,
            "success_without_training": control("trainer off"),
            "success_without_interventions": control("interventions off"),
            "success_uniform": control("uniform sampling"),
            "success_imitation": control("imitation alone"),
            "episodes": float(len(train)),
            "episodes_on_arm": float(len(self.measured.episodes)),
            "demonstrations": float(plan.demonstrations),
            "interventions": float(sum(row.interventions for row in train)),
            "intervention_seconds": float(sum(row.intervention_seconds for row in train)),
            "safety_stops": float(sum(row.safety_stops for row in self.measured.episodes)),
        }

    @property
    def verdict(self) -> str:
        """The paired verdict on after against before."""
        return compare(self.successes("after"), self.successes("before")).verdict

    def rows(self) -> list[dict[str, Any]]:
        """One mapping an evaluation, with every success, so that runs can be pooled and paired."""
        return [
            {"evaluation": e.label, "role": e.role, "version": e.policy_version, "seeds": list(e.seeds)}
            | {"successes": [bool(success) for success in e.successes]}
            for e in self._evaluations.values()
        ]

    def record(self, figures: Mapping[str, float], machine: Mapping[str, Any]) -> RunRecord:
        """What the report is drawn from."""
        task = load_task(self.plan.task)
        config = TrainerConfig()
        return RunRecord(
            command="demo",
            version=__version__,
            seed=self.plan.seed,
            task=self.plan.task,
            instruction=task.instruction,
            robot=self.plan.robot,
            started=self._started,
            force_budget=task.force_budget,
            activation_target=config.gate.target_activation_rate,
            machine=dict(machine),
            figures=dict(figures),
            episodes=self.measured.episodes,
            evaluations=list(self._evaluations.values()),
            changes=self.measured.changes,
            activation=self.measured.activation,
            notes=_NOTES
            + _PRACTICE_NOTE * self.plan.practice
            + [f"Physics of the shifted arm: {_changed(self.physics)}."],
        )

    def _arm(self, name: str, changes: Mapping[str, Any]) -> ControlArm:
        plan = self.plan
        return ControlArm(
            demonstrations=str(plan.folder / "episodes"),
            registry=str(self._arm_folder(name)),
            task=plan.task,
            robot=plan.robot,
            seed=plan.seed,
            episodes=plan.episodes,
            candidate_every=CANDIDATE_EVERY,
            warm_start_updates=WARM_START_UPDATES,
            physics=dict(self.physics),
            **changes,
        )

    def _arm_folder(self, name: str) -> Path:
        return self.plan.folder / "controls" / name.replace(" ", "_")

    def _advance(self, bar: int) -> Callable[[int], None]:
        return lambda done: self.bars.update(bar, completed=done)


def _control_arms(plan: DemoPlan) -> dict[str, dict[str, Any]]:
    """What is different in each control arm, by name; reinforcement learning is set beside imitation."""
    if plan.objective != "bc":
        return {
            "imitation alone": {"sampler": plan.sampler, "curriculum": plan.curriculum, "operator": plan.operator},
        }
    return {
        "interventions off": {"sampler": plan.sampler, "curriculum": plan.curriculum, "operator": False},
        "uniform sampling": {"sampler": "uniform", "curriculum": "uniform", "operator": plan.operator},
    }


_NOTES = [
    "Every held-out scenario is disjoint from those of training and promotion; no version was chosen on it.",
    "Held-out success is measured outside the graph, by the same policy, safety and task code in lock-step.",
    "trainer off: the first policy again, on fresh held-out scenarios; it is compared unpaired.",
    "Control arms are judged on half as many held-out scenarios.",
    "Control arms learn in one process and take every candidate without a test.",
    "uniform sampling: scenarios are drawn uniformly as well as samples, so nothing is significant.",
]


_PRACTICE_NOTE = [
    "Practice: physics are fitted to the arm's own episodes, and the task's scripted expert demonstrates in that "
    "simulator; candidates are tested in the nominal one."
]


def _rate(successes: tuple[bool, ...]) -> float:
    return sum(successes) / len(successes)


def _changed(physics: Mapping[str, float]) -> str:
    nominal = PhysicsParameters().values()
    return ", ".join(f"{name} {value:.4g}" for name, value in physics.items() if value != nominal[name])
