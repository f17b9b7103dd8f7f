"""Starts of a MetaWorld task, chosen or not: a policy tries each, and where it fails the scripted one shows how."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from physai_ros.cli.training_problems import MetaworldProblem
from physai_ros.curriculum.selector import ScenarioSelector
from physai_ros.policy.network import RobotPolicyNetwork
from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import Transitions
from physai_ros.training.trainer import SparseTrainer

_BATCH, _RATE, _UPDATES = 64, 3e-3, 400


@dataclass
class StartsTried:
    """What came of the episodes: success at every checkpoint, and how often whom it took."""

    success: list[float]
    own_success: int = 0
    interventions: int = 0
    rehearsals: int = 0


def try_starts(
    problem: MetaworldProblem,
    method: str,
    *,
    rehearse: bool,
    demonstrations: int,
    episodes: int,
    every: int,
    rollouts: int,
    seed: int,
) -> StartsTried:
    """Run `episodes` from starts that `method` chooses, after `demonstrations` from uniform ones.

    A fresh network learns from all demonstrations each `every` episodes, and is judged on `rollouts` uniform starts.
    With `rehearse` it tries starts before an episode is spent, and passes over what it masters; the world that it
    rehearses in is the very one that it is judged in.
    """
    generator = np.random.default_rng([seed, 0x57])
    bounds = problem.bounds()
    uniform, selector = (ScenarioSelector(bounds, generator, each) for each in ("uniform", method))
    known: list[Transitions] = []
    while len(known) < demonstrations:
        known += filter(None, [problem.shown_from(uniform.next(), int(generator.integers(2**31)))])
    network = _learned(known, seed)
    found = StartsTried([])

    def judge() -> None:
        found.success.append(float(np.mean(problem.rollouts(network, rollouts, seed))))

    def mastered(start: dict[str, float]) -> bool:
        found.rehearsals += 1
        return problem.masters(network, start)

    judge()
    for number in range(1, episodes + 1):
        start = selector.next(rehearse=mastered if rehearse else None)
        success = problem.masters(network, start)
        selector.report(start, success)
        if success:
            found.own_success += 1
        else:
            found.interventions += 1
            known += filter(None, [problem.shown_from(start, int(generator.integers(2**31)))])
        if number % every == 0:
            network = _learned(known, seed)
            judge()
    return found


def _learned(known: list[Transitions], seed: int) -> RobotPolicyNetwork:
    """A fresh network that has imitated what was shown; samples are drawn uniformly: starts are all that differs."""
    torch.set_num_threads(1)
    config = TrainerConfig(
        sampler="uniform",
        batch_size=_BATCH,
        learning_rate=_RATE,
        warm_start_updates=_UPDATES,
        outcome_batch=0,
        seed=seed,
    )
    trainer = SparseTrainer(known[0].observations.shape[1], known[0].actions.shape[2], config)
    for index, transitions in enumerate(known):
        trainer.add(transitions, str(index))
    for index in range(_UPDATES):
        trainer.update(trainer.warm_start_rate(index, _UPDATES))
    return trainer.policy_network()
