"""Samplers side by side: the same demonstrations, seeds, checkpoints and rollouts for each; rows are kept at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from physai_ros.cli.training_problems import Problem
from physai_ros.evaluation.learning_curves import crossing, final_success
from physai_ros.policy.network import RobotPolicyNetwork
from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import Transitions
from physai_ros.training.gate import GateConfig
from physai_ros.training.significance import SignificanceConfig
from physai_ros.training.trainer import SparseTrainer

PUBLISHED = "published"
"""The trainer of the adaptive-sparse-training package."""

Row = dict[str, Any]

_FIRST = 20
_TURN = 4  # updates of an arm before it is the next one's turn


@dataclass(frozen=True)
class Arm:
    """A sampler with what was tuned for it; `signals` says which of significance it has, as `significance_of` reads."""

    sampler: str
    learning_rate: float = 2e-3
    batch_size: int = 256
    signals: str = ""


SIGNALS = ("learning", "difficulty", "novelty", "uncertainty", "physical")
NOTHING = "none"
"""No signal: every sample alike, dealt out in strata as they are with signals."""


def significance_of(signals: str) -> SignificanceConfig:
    """The default weights; of "only x" that signal alone, of "without x" the four others alike, of "all" all alike.

    For "none" they are the default ones as well: there the gate's floor is all, see `_trainer`.

    Raises:
        ValueError: it is none of these.
    """
    if signals in ("", NOTHING):
        return SignificanceConfig()
    choice, _, name = signals.partition(" ")
    if signals != "all" and (choice not in ("only", "without") or name not in SIGNALS):
        raise ValueError(
            f"signals are '{signals}': give 'all', 'none', or 'only' or 'without' and one of {', '.join(SIGNALS)}"
        )
    kept = {"all": set(SIGNALS), "only": {name}, "without": set(SIGNALS) - {name}}[choice]
    return SignificanceConfig(**{f"w_{signal}": float(signal in kept) for signal in SIGNALS})


@dataclass(frozen=True)
class StudyPlan:
    """What is the same for all arms.

    Attributes:
        checkpoints: CPU seconds of training at which the policy is judged, rising.
        demonstrations: that each trainer gets, the same for all arms of a seed.
        rollouts: at each checkpoint, from the same starts for all arms of a seed; where fewer than half of the first
            `_FIRST` succeed, these alone, for such a policy is far from any level that is asked for.
        wrong_labels: share of the labels that are replaced by random actions.
    """

    checkpoints: tuple[float, ...]
    demonstrations: int
    rollouts: int
    wrong_labels: float = 0.0


class RowFile:
    """Rows of finished runs, one JSON object a line; a study that is run again goes on from them."""

    def __init__(self, path: Path | None, made_by: Row | None = None) -> None:
        """Take the file, and what every new row says of its origin: version, commit, libraries."""
        self._path = path
        self.made_by = made_by or {}
        self.rows: list[Row] = []
        if path is not None and path.exists():
            self.rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]

    def find(self, **wanted: object) -> Row | None:
        """The first row in which all of `wanted` holds."""
        return next((row for row in self.rows if all(row.get(name) == value for name, value in wanted.items())), None)

    def add(self, row: Row) -> None:
        """Keep a row, on disk at once."""
        self.rows.append(row)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps(row) + "\n")


def run_seed(
    problem: Problem, arms: Iterable[Arm], plan: StudyPlan, seed: int, file: RowFile, on_row: Callable[[Row], None]
) -> list[Row]:
    """Rows of all arms on one problem and seed, those of the file included; each is kept as soon as it is known.

    The arms take turns in training, every few updates, so that a machine that is busy for a while slows all alike.
    Rollouts take far longer, cost nothing that is compared, and follow arm by arm.
    """
    keys = {arm: {"task": problem.name, "seed": seed, **asdict(arm), **_plan_key(plan)} for arm in arms}
    missing = {arm: key for arm, key in keys.items() if file.find(**key) is None}
    if missing:
        demonstrations = _mislabelled(problem.demonstrations(plan.demonstrations, seed), plan.wrong_labels, seed)
        trainers = {arm: _trainer(arm, demonstrations, seed) for arm in missing}
        torch.set_num_threads(1)
        _warm_up(next(iter(missing)), demonstrations, seed)
        reached: dict[Arm, list[tuple[Row, RobotPolicyNetwork]]] = {arm: [] for arm in missing}
        for cost in plan.checkpoints:
            _train_until(cost, trainers)
            for arm, trainer in trainers.items():
                reached[arm].append((_cost(trainer), trainer.policy_network()))
        for arm, key in missing.items():
            curve = [judged(problem, network, plan.rollouts, seed) | cost for cost, network in reached.pop(arm)]
            row = key | file.made_by | _summary(trainers[arm]) | {"curve": curve}
            file.add(row)
            on_row(row)
    return [row for key in keys.values() if (row := file.find(**key)) is not None]


def _warm_up(arm: Arm, demonstrations: list[Transitions], seed: int) -> None:
    """Updates that count for nobody: what a process does once would be the first arm's cost."""
    trainer = _trainer(arm, demonstrations[:2], seed)
    for _ in range(_TURN):
        trainer.update(arm.learning_rate)


def _train_until(cost: float, trainers: dict[Arm, SparseTrainer]) -> None:
    """Train all of them until each took `cost` CPU seconds."""
    behind = dict(trainers)
    while behind:
        for arm, trainer in trainers.items():
            for _ in range(_TURN):
                if trainer.counters.cpu_seconds >= cost:
                    behind.pop(arm, None)
                    break
                trainer.update(arm.learning_rate)


def judged(problem: Problem, network: RobotPolicyNetwork, most: int, seed: int) -> Row:
    """Success of a policy, and of how many rollouts that is the share; few where it is far from any level asked for."""
    outcomes = problem.rollouts(network, min(_FIRST, most), seed)
    if 2 * sum(outcomes) >= len(outcomes) and len(outcomes) < most:
        outcomes += problem.rollouts(network, most - len(outcomes), seed, len(outcomes))
    return {"success": float(np.mean(outcomes)), "rollouts": len(outcomes)}


def best_arm(rows: Sequence[Row], level: float) -> Arm:
    """The arm that reaches `level` for the least CPU time, by the geometric mean over its rows."""
    costs: dict[Arm, list[float]] = {}
    for row in rows:
        arm = Arm(row["sampler"], row["learning_rate"], row["batch_size"], row["signals"])
        costs.setdefault(arm, []).append(np.log(cost_of(row, level)))
    return min(costs, key=lambda arm: (float(np.mean(costs[arm])), arm.batch_size, arm.learning_rate))


def cost_of(row: Row, level: float) -> float:
    """CPU seconds at which a row's curve crosses `level`; twice the last checkpoint where it never did."""
    found = crossing(
        [point["cpu_seconds"] for point in row["curve"]], [point["success"] for point in row["curve"]], level
    )
    return found.cost if found.reached else 2.0 * found.cost


def kind_of(row: Row) -> str:
    """The sampler of a row, with its signals where those are not all."""
    return f"{row['sampler']} {row['signals']}".strip()


def final_of(row: Row) -> float:
    """Success at the end of a row's curve."""
    return final_success([point["success"] for point in row["curve"]])


def _plan_key(plan: StudyPlan) -> Row:
    return {
        "checkpoints": list(plan.checkpoints),
        "demonstrations": plan.demonstrations,
        "rollouts": plan.rollouts,
        "wrong_labels": plan.wrong_labels,
    }


def _trainer(arm: Arm, demonstrations: list[Transitions], seed: int) -> SparseTrainer:
    sampler = "uniform" if arm.sampler == PUBLISHED else arm.sampler
    config = TrainerConfig(
        sampler=sampler,
        batch_size=arm.batch_size,
        seed=seed,
        outcome_batch=0,
        gate=GateConfig(exploration_floor=1.0) if arm.signals == NOTHING else GateConfig(),
        significance=significance_of(arm.signals),
    )
    first = demonstrations[0]
    kind: type[SparseTrainer] = SparseTrainer
    if arm.sampler == PUBLISHED:
        from physai_ros.cli.published_gate import PublishedTrainer

        kind = PublishedTrainer
    trainer = kind(first.observations.shape[1], first.actions.shape[2], config)
    for index, transitions in enumerate(demonstrations):
        trainer.add(transitions, str(index))
    return trainer


def _cost(trainer: SparseTrainer) -> Row:
    """What training took until now."""
    counters = trainer.counters
    return {
        "cpu_seconds": counters.cpu_seconds,
        "updates": counters.updates,
        "forward": counters.forward,
        "backward": counters.backward,
        "offered": counters.offered,
    }


def _summary(trainer: SparseTrainer) -> Row:
    counters = trainer.counters
    return {
        "samples": len(trainer.demonstrations),
        "activation_rate": counters.activation_rate,
        "selection_share": counters.selection_seconds / counters.cpu_seconds,
        "control": trainer.control.reason if trainer.config.compares else "",
    }


def _mislabelled(demonstrations: list[Transitions], share: float, seed: int) -> list[Transitions]:
    """The demonstrations with a share of their labels drawn anew from -1 ... 1."""
    generator = np.random.default_rng([seed, 0xBAD])
    for transitions in demonstrations:
        wrong = generator.random(len(transitions)) < share
        drawn = generator.uniform(-1.0, 1.0, (int(wrong.sum()), *transitions.actions.shape[1:]))
        transitions.actions = transitions.actions.copy()
        transitions.actions[wrong] = drawn
    return demonstrations
