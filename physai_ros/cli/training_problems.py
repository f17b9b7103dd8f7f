"""What `physai bench training` trains on: tasks of this package, and of MetaWorld where an interpreter has it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from physai_ros.policy.acting import ActingNetwork
from physai_ros.policy.network import RobotPolicyNetwork
from physai_ros.training.dataset import Transitions

ARM_TASKS = ("reach", "pick_place")
METAWORLD_TASKS = ("assembly-v3", "stick-pull-v3", "pick-place-wall-v3")
METAWORLD_STEPS = 300


class Problem(ABC):
    """Demonstrations to learn from, and rollouts that judge what was learned."""

    name: str

    @abstractmethod
    def demonstrations(self, count: int, seed: int) -> list[Transitions]:
        """Successful demonstrations, one an episode; the same for the same seed."""

    @abstractmethod
    def rollouts(self, network: RobotPolicyNetwork, count: int, seed: int, first: int = 0) -> list[bool]:
        """Outcomes of `count` rollouts from fresh starts of `seed`, from number `first` on."""

    def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Let go of what the problem holds."""


class ArmProblem(Problem):
    """A task on the simulated arm: demonstrated with safety monitor and driver in the loop, judged without them."""

    def __init__(self, task: str) -> None:
        from physai_ros.evaluation.bare_rollout import BareRollout
        from physai_ros.evaluation.rollout import Rollout
        from physai_ros.robot.spec import RobotSpec
        from physai_ros.tasks.catalog import load_task
        from physai_ros.training.dataset import TransitionBuilder

        self.name = task
        spec = RobotSpec.load("fr3_sim")
        self._rollout = Rollout(spec, load_task(task))
        self._bare = BareRollout(spec, self._rollout.task)
        self._builder = TransitionBuilder(self._rollout.arm.kinematics, self._rollout.task)

    def demonstrations(self, count: int, seed: int) -> list[Transitions]:
        """Noisily executed demonstrations of the task's expert in the nominal simulator."""
        from physai_ros.evaluation.driving import DemonstrationNoise
        from physai_ros.transfer.first_policy import demonstrate

        noise = DemonstrationNoise(0.3, 0.5)
        return [self._builder.build(episode) for episode in demonstrate(self._rollout, count, seed, noise)]

    def rollouts(self, network: RobotPolicyNetwork, count: int, seed: int, first: int = 0) -> list[bool]:
        """Outcomes by `BareRollout`."""
        from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds

        policy, task = ActingNetwork(network), self._rollout.task
        return [
            self._bare.succeeds(policy, scenario_of(task, number), number)
            for number in scenario_seeds("held_out", seed, count, first)
        ]


class MetaworldProblem(Problem):
    """A MetaWorld task, run by another interpreter.

    Raises:
        ValueError: that interpreter has no MetaWorld.
    """

    def __init__(self, task: str, python: Path) -> None:
        self.name = task
        self._folder = tempfile.TemporaryDirectory(prefix="physai_metaworld_")
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._worker = subprocess.Popen(
            [python, Path(__file__).with_name("metaworld_worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def demonstrated(self, count: int, seed: int) -> Path:
        """File with demonstrations as `metaworld_worker.collect` writes them."""
        path = Path(self._folder.name) / f"demonstrations_{count}_{seed}.npz"
        self._ask(do="collect", task=self.name, count=count, seed=seed, steps=METAWORLD_STEPS, out=str(path))
        return path

    def demonstrations(self, count: int, seed: int) -> list[Transitions]:
        """Demonstrations of MetaWorld's scripted policy, some of them noisily executed, with clean labels."""
        return [_steps(*episode, demonstration=True) for episode in _episodes(self.demonstrated(count, seed))]

    def rollouts(self, network: RobotPolicyNetwork, count: int, seed: int, first: int = 0) -> list[bool]:
        """Outcomes within 300 steps."""
        request = {"task": self.name, "policy": self._written(network), "count": count, "seed": seed, "first": first}
        return self._ask(do="evaluate", steps=METAWORLD_STEPS, **request)

    def shown(self, count: int, seed: int) -> list[Transitions]:
        """The same demonstrations as a critic learns from them: up to their success, with what was executed."""
        path = self.demonstrated(count, seed)
        found = []
        with np.load(path) as file:
            ends = np.cumsum(file["lengths"])[:-1]
            executed, reached = (np.split(file[name], ends) for name in ("executed", "reached"))
        for (observations, actions), done, there in zip(_episodes(path), executed, reached, strict=True):
            rows = slice(int(np.argmax(there)) + 1)
            transitions = _steps(observations[rows], actions[rows], demonstration=True)
            found.append(_ended(transitions, done[rows], success=True))
        return found

    def bounds(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest of the numbers that a start is drawn from, named by their place."""
        low, high = self._ask(do="bounds", task=self.name)
        return {f"start_{place}": pair for place, pair in enumerate(zip(low, high, strict=True))}

    def masters(self, network: RobotPolicyNetwork, start: Mapping[str, float]) -> bool:
        """Whether a policy reaches the goal from a start within 300 steps."""
        policy, numbers = self._written(network), list(start.values())
        return self._ask(do="attempt", task=self.name, policy=policy, start=numbers, steps=METAWORLD_STEPS)

    def shown_from(self, start: Mapping[str, float], seed: int) -> Transitions | None:
        """A demonstration from a start; None where the scripted policy fails there."""
        path = Path(self._folder.name) / "shown.npz"
        request = {"task": self.name, "start": list(start.values()), "seed": seed, "out": str(path)}
        success = self._ask(do="show", steps=METAWORLD_STEPS, **request)
        return _steps(*_episodes(path)[0], demonstration=True) if success else None

    def own_episodes(
        self, network: RobotPolicyNetwork, count: int, seed: int, first: int, exploration: float
    ) -> tuple[list[Transitions], float]:
        """The policy's own steps in episodes that end with success or after 300 steps, and the CPU time of them [s]."""
        path = Path(self._folder.name) / "own.npz"
        request = {"task": self.name, "policy": self._written(network), "count": count, "seed": seed, "first": first}
        told = self._ask(do="practise", steps=METAWORLD_STEPS, exploration=exploration, out=str(path), **request)
        own = []
        for (observations, actions), success in zip(_episodes(path), told["successes"], strict=True):
            transitions = _steps(observations, actions, demonstration=False, success=success)
            own.append(_ended(transitions, actions, success=success))
        return own, told["cpu_seconds"]

    def _written(self, network: RobotPolicyNetwork) -> str:
        path = Path(self._folder.name) / "policy.npz"
        np.savez(path, **_matrices(network))
        return str(path)

    def _ask(self, **request: object) -> Any:  # noqa: ANN401 what the worker's function returns
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        try:
            self._worker.stdin.write(json.dumps(request) + "\n")
            self._worker.stdin.flush()
        except BrokenPipeError:
            pass
        line = self._worker.stdout.readline()
        if not line:
            raise ValueError(
                f"{self._worker.args[0]} cannot run MetaWorld: make an environment of "
                "requirements/metaworld.txt and name its interpreter with --metaworld-python"
            )
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"MetaWorld, {self.name}: {answer['error']}")
        return answer["result"]

    def close(self) -> None:
        """End the worker."""
        self._worker.communicate()
        self._folder.cleanup()


def problem_of(name: str, python: Path | None) -> ArmProblem | MetaworldProblem:
    """The task of this name; those of MetaWorld are run by the interpreter `python`.

    Raises:
        ValueError: a task of MetaWorld, and no interpreter; or it has no MetaWorld.
    """
    if name not in METAWORLD_TASKS:
        return ArmProblem(name)
    if python is None:
        raise ValueError(f"{name} is a task of MetaWorld: name an interpreter that has it with --metaworld-python")
    return MetaworldProblem(name, python)


def _episodes(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Observations and actions of each episode in a file."""
    with np.load(path) as file:
        observations, actions, ends = file["observations"], file["actions"], np.cumsum(file["lengths"])[:-1]
    return list(zip(np.split(observations, ends), np.split(actions, ends), strict=True))


def _steps(observations: np.ndarray, actions: np.ndarray, *, demonstration: bool, success: bool = True) -> Transitions:
    """One episode as the trainer takes it, demonstrated or the policy's own; MetaWorld's control period is 12.5 ms."""
    count = len(observations)
    shown = np.full(count, demonstration)
    return Transitions(
        observations=observations,
        actions=actions[:, None],
        action_known=np.ones((count, 1), dtype=np.float32),
        imitable=shown,
        demonstration=shown,
        success=np.full(count, success, dtype=np.float32),
        time_to_end=0.0125 * np.arange(count, 0, -1, dtype=np.float32),
        force_excess=np.zeros(count, dtype=np.float32),
        intervention_age=np.full(count, np.inf, dtype=np.float32),
        own=~shown,
    )


def _ended(transitions: Transitions, executed: np.ndarray, *, success: bool) -> Transitions:
    """With what was executed; success is an end, time running out is none."""
    transitions.executed = executed.astype(np.float32)
    transitions.terminal[-1:] = success
    return transitions


def _matrices(network: RobotPolicyNetwork) -> dict[str, np.ndarray]:
    """The network as `metaworld_worker.NumpyPolicy` reads it."""
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    layers = len(network.architecture.hidden_sizes)
    matrices = {
        "mean": state["observation_mean"],
        "scale": state["observation_scale"],
        "head_weight": state["action_heads.weight"],
        "head_bias": state["action_heads.bias"],
        "layers": np.array(layers),
        "members": np.array(network.architecture.members),
    }
    for layer in range(layers):
        matrices[f"weight{layer}"] = state[f"trunk.{3 * layer}.weight"]
        matrices[f"bias{layer}"] = state[f"trunk.{3 * layer}.bias"]
        matrices[f"gain{layer}"] = state[f"trunk.{3 * layer + 1}.weight"]
        matrices[f"shift{layer}"] = state[f"trunk.{3 * layer + 1}.bias"]
    return matrices
