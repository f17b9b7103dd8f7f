"""Our learning from own episodes beside Stable-Baselines3's SAC: one sparse task, the same demonstrations, by seed."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from physai_ros.cli.sampler_study import judged
from physai_ros.cli.training_problems import METAWORLD_STEPS, MetaworldProblem
from physai_ros.training.actor_critic_config import ActorCriticConfig
from physai_ros.training.config import TrainerConfig
from physai_ros.training.trainer import SparseTrainer

SAC = "SAC"
WORKER = Path(__file__).with_name("sac_worker.py")

Row = dict[str, Any]
Tell = Callable[[Row], None]
"""Told every point of a curve."""


@dataclass(frozen=True)
class PeerPlan:
    """What both are given.

    Attributes:
        task: of MetaWorld.
        seed: of demonstrations, starts, weights and sampling.
        demonstrations: of its scripted policy.
        level: of success in held-out starts, at which a run ends.
        held_out: rollouts that judge a policy; fewer than half of the first 20 are enough to know that it is far away.
        rounds: ours: at most so many rounds of own episodes, a judgement after every second.
        episodes: ours: of a round.
        updates: ours: after a round; as many of imitation before the first.
        exploration: ours: spread of what is tried in own episodes, of the largest action.
        sampler: ours: who chooses samples, one of `training.samplers.SAMPLERS`.
        most_steps: the peer's: environment steps.
        judge_every: the peer's: environment steps between judgements.
    """

    task: str
    seed: int = 0
    demonstrations: int = 20
    level: float = 0.9
    held_out: int = 100
    rounds: int = 20
    episodes: int = 20
    updates: int = 2000
    exploration: float = 0.1
    sampler: str = "uniform"
    most_steps: int = 40_000
    judge_every: int = 5_000


RECIPE = ActorCriticConfig(
    discount=0.99,
    horizon=5,
    head_start=4000,
    loyalty_end=0.1,
    fine=0.0,
    pessimism=0.0,
    residual_bound=2.0,
    exploration=0.15,
)
"""Of the critics: a step takes 12.5 ms, where the package's own decisions take 100, and nothing bounds the actor."""


def run_ours(plan: PeerPlan, problem: MetaworldProblem, tell: Tell) -> list[Row]:
    """Imitation of the demonstrations, then rounds of own episodes by the objective `actor_critic`."""
    torch.set_num_threads(1)
    shown = problem.shown(plan.demonstrations, plan.seed)
    config = TrainerConfig.of_objective(
        "actor_critic", seed=plan.seed, sampler=plan.sampler, warm_start_updates=plan.updates, rl=RECIPE
    )
    began = time.process_time()
    trainer = SparseTrainer(shown[0].observations.shape[1], shown[0].actions.shape[2], config)
    for index, transitions in enumerate(shown):
        trainer.add(transitions, f"shown-{index}")
    for index in range(plan.updates):
        trainer.update(trainer.warm_start_rate(index, plan.updates))
    cpu, steps, curve = time.process_time() - began, 0, []
    for number in range(plan.rounds + 1):
        network = trainer.policy_network()
        if number % 2 == 0:
            point = {"own_steps": steps, "cpu_seconds": cpu} | judged(problem, network, plan.held_out, plan.seed)
            curve.append(point)
            tell(point)
            if point["success"] >= plan.level:
                break
        if number < plan.rounds:
            own, spent = problem.own_episodes(
                network, plan.episodes, plan.seed, number * plan.episodes, plan.exploration
            )
            began = time.process_time()
            for index, transitions in enumerate(own):
                trainer.add(transitions, f"own-{number}-{index}")
            for _ in range(plan.updates):
                trainer.update(config.fine_learning_rate)
            cpu, steps = cpu + spent + time.process_time() - began, steps + sum(map(len, own))
    return curve


def run_sac(plan: PeerPlan, problem: MetaworldProblem, python: Path, tell: Tell) -> list[Row]:
    """The peer, in a process of the interpreter that has it.

    Raises:
        RuntimeError: it did not work; the message has its last line.
    """
    settings = {
        "task": plan.task,
        "seed": plan.seed,
        "demonstrations": str(problem.demonstrated(plan.demonstrations, plan.seed)),
        "episode_steps": METAWORLD_STEPS,
        "held_out": plan.held_out,
        "level": plan.level,
        "most_steps": plan.most_steps,
        "judge_every": plan.judge_every,
    }
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    curve: list[Row] = []
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [python, WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with suppress(BrokenPipeError):  # it has ended; what it said of that follows
                process.stdin.write(json.dumps(settings))
                process.stdin.close()
            for line in process.stdout:
                curve.append(json.loads(line))
                tell(curve[-1])
            process.wait()
        finally:
            process.kill()
        errors.seek(0)
        last = (errors.read().strip().splitlines() or ["it says nothing"])[-1]
    if process.returncode:
        raise RuntimeError(
            f"{python} cannot run the peer: {last}; make an environment of requirements/peers.txt and name its "
            "interpreter with --python"
        )
    return curve
