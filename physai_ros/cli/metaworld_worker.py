"""Run by an interpreter that has MetaWorld: demonstrations and rollouts for `physai bench training` and `peers`.

MetaWorld pins a MuJoCo of its own, so it cannot live in this package's environment, and nothing of this package is
imported here. One request a line on standard input, one answer a line on standard output, both JSON.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import pickle
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import numpy as np

_NOISES = (0.0, 0.3, 0.5)
_HELD_SUCCESS = 5  # steps of success after which a demonstration ends
_DEMONSTRATED, _JUDGED, PRACTISED = 0, 1, 2  # streams of starts
_PERSISTENCE = 0.9  # of a disturbance, from step to step of 12.5 ms
_MOTION = np.array([1.0, 1.0, 1.0, 0.0])  # what is disturbed: not the gripper


class NumpyPolicy:
    """The network that `training_problems.MetaworldProblem` wrote: a LayerNorm perceptron in numpy."""

    def __init__(self, path: str) -> None:
        with np.load(path) as file:
            self._weights = {name: file[name] for name in file.files}
        self._layers = int(self._weights["layers"])

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Action (action_size,) in -1 ... 1 for an observation (size,)."""
        w = self._weights
        hidden = np.clip((observation - w["mean"]) * w["scale"], -5.0, 5.0)
        for layer in range(self._layers):
            hidden = w[f"weight{layer}"] @ hidden + w[f"bias{layer}"]
            hidden = (hidden - hidden.mean()) / np.sqrt(hidden.var() + 1e-5) * w[f"gain{layer}"] + w[f"shift{layer}"]
            hidden = hidden / (1.0 + np.exp(-hidden))
        members = (w["head_weight"] @ hidden + w["head_bias"]).reshape(int(w["members"]), -1)
        return np.clip(members.mean(axis=0), -1.0, 1.0).astype(np.float32)


@functools.lru_cache(maxsize=16)
def starts(task: str, seed: int) -> tuple[Any, list[Any]]:
    """MetaWorld's environment of a task, and the fifty starts of a seed."""
    import metaworld

    benchmark = metaworld.MT1(task, seed=seed)
    return benchmark.train_classes[task], benchmark.train_tasks


def worlds(task: str, stream: int, seed: int, first: int = 0) -> Iterator[Any]:
    """The environment, set to one start after another, from number `first` on, that no other stream or seed has.

    gymnasium's own wrapper would draw them, with repetition, from the fifty of one seed, and unseeded.
    """
    environment = None
    for number in itertools.count(first):
        make, fifty = starts(task, (stream << 30) + (seed << 10) + number // 50)
        environment = environment or make()
        environment.set_task(fifty[number % 50])
        yield environment


def collect(task: str, count: int, seed: int, steps: int, out: str) -> dict[str, Any]:
    """Write successful demonstrations of the task's scripted policy: clean labels, some of them noisily executed.

    `executed` are the actions as they were executed, `reached` whether the goal was after each step, `final` what was
    seen at the end of each demonstration.
    """
    from metaworld.policies import ENV_POLICY_MAP

    expert, generator = ENV_POLICY_MAP[task](), np.random.default_rng(seed)
    observations, actions, executed, reached, final, lengths, tried = [], [], [], [], [], [], 0
    for environment in worlds(task, _DEMONSTRATED, seed):
        tried += 1
        if tried > 5 * count:
            raise RuntimeError(f"the scripted policy of {task} succeeded {len(lengths)} times in {tried}")
        rows, observation, held = _shown(environment, expert, generator.choice(_NOISES), generator, steps)
        if held:
            observations += [row[0] for row in rows]
            actions += [row[1] for row in rows]
            executed += [row[2] for row in rows]
            reached += [row[3] for row in rows]
            final.append(observation.astype(np.float32))
            lengths.append(len(rows))
        if len(lengths) == count:
            break
    np.savez(
        out,
        observations=np.array(observations),
        actions=np.array(actions),
        executed=np.array(executed),
        reached=np.array(reached),
        final=np.array(final),
        lengths=np.array(lengths),
    )
    return {"tried": tried}


def _shown(
    environment: Any,  # noqa: ANN401
    expert: Any,  # noqa: ANN401
    noise: float,
    generator: np.random.Generator,
    steps: int,
) -> tuple[list[tuple], np.ndarray, bool]:
    """One demonstration: what was seen, meant and done and whether the goal was reached, by step; what is seen at its
    end; and whether it succeeded.
    """  # noqa: D205
    held, rows = 0, []
    observation, _ = environment.reset()
    for _ in range(steps):
        action = np.clip(expert.get_action(observation.astype(np.float64)), -1, 1).astype(np.float32)
        done = np.clip(action + noise * generator.standard_normal(len(action)), -1, 1).astype(np.float32)
        seen = observation.astype(np.float32)
        observation, _, terminated, truncated, info = environment.step(done)
        rows.append((seen, action, done, info["success"] > 0))
        held += info["success"] > 0
        if held >= _HELD_SUCCESS or terminated or truncated:
            break
    return rows, observation, bool(held)


def bounds(task: str) -> list[list[float]]:
    """Lowest and highest of each number that a start of the task is drawn from."""
    space = starts(task, 0)[0]()._random_reset_space
    return [space.low.tolist(), space.high.tolist()]


@functools.lru_cache(maxsize=4)
def _world(task: str) -> Any:  # noqa: ANN401
    return starts(task, 0)[0]()


def _put(task: str, start: list[float]) -> Any:  # noqa: ANN401
    """The task's environment, set to a start of one's own."""
    like, environment = starts(task, 0)[1][0], _world(task)
    environment.set_task(like._replace(data=pickle.dumps(pickle.loads(like.data) | {"rand_vec": np.array(start)})))
    return environment


def attempt(task: str, policy: str, start: list[float], steps: int) -> bool:
    """Whether a policy reaches the goal from a start."""
    return _reaches(_put(task, start), NumpyPolicy(policy), steps)


def show(task: str, start: list[float], seed: int, steps: int, out: str) -> bool:
    """Write a demonstration from a start, and whether it succeeded; one that noise spoils is shown again without."""
    from metaworld.policies import ENV_POLICY_MAP

    expert, generator = ENV_POLICY_MAP[task](), np.random.default_rng(seed)
    for noise in (generator.choice(_NOISES), 0.0):
        rows, _, success = _shown(_put(task, start), expert, noise, generator, steps)
        if success:
            break
    columns = {name: np.array([row[place] for row in rows]) for place, name in enumerate(("observations", "actions"))}
    np.savez(out, **columns, lengths=np.array([len(rows)]))
    return success


def practise(
    task: str, policy: str, count: int, seed: int, first: int, steps: int, exploration: float, out: str
) -> dict[str, Any]:
    """Write what a policy saw and did in `count` episodes of its own; whether each reached the goal, and CPU time [s].

    `exploration` is the spread of a disturbance of its motion that lasts over some ten steps.
    """
    act, observations, actions, lengths, successes = NumpyPolicy(policy), [], [], [], []
    generator = np.random.default_rng([seed, first, 0xE7])
    began = time.process_time()
    for environment in itertools.islice(worlds(task, PRACTISED, seed, first), count):
        observation, _ = environment.reset()
        success, before, disturbance = False, len(actions), np.zeros(4)
        for _ in range(steps):
            fresh = exploration * generator.standard_normal(4) * _MOTION
            disturbance = _PERSISTENCE * disturbance + np.sqrt(1.0 - _PERSISTENCE**2) * fresh
            action = np.clip(act(observation) + disturbance, -1.0, 1.0).astype(np.float32)
            observations.append(observation.astype(np.float32))
            actions.append(action)
            observation, _, terminated, truncated, info = environment.step(action)
            success = bool(info["success"] > 0)
            if success or terminated or truncated:
                break
        lengths.append(len(actions) - before)
        successes.append(success)
    cpu = time.process_time() - began
    np.savez(out, observations=np.array(observations), actions=np.array(actions), lengths=np.array(lengths))
    return {"successes": successes, "cpu_seconds": cpu}


def evaluate(task: str, policy: str, count: int, seed: int, first: int, steps: int) -> list[bool]:
    """Whether each of `count` rollouts, from fresh starts from number `first` on, reached the goal in time."""
    return judge(NumpyPolicy(policy), task, count, seed, first, steps)


def judge(
    act: Callable[[np.ndarray], np.ndarray], task: str, count: int, seed: int, first: int, steps: int
) -> list[bool]:
    """The same of anything that acts on an observation."""
    return [_reaches(each, act, steps) for each in itertools.islice(worlds(task, _JUDGED, seed, first), count)]


def _reaches(environment: Any, act: Callable[[np.ndarray], np.ndarray], steps: int) -> bool:  # noqa: ANN401
    observation, _ = environment.reset()
    for _ in range(steps):
        observation, _, terminated, truncated, info = environment.step(act(observation))
        if info["success"] > 0:
            return True
        if terminated or truncated:
            break
    return False


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer until there are no more requests; a request that fails is answered with its error."""
    import metaworld  # noqa: F401 an interpreter that has none ends here, which the bench understands

    actions = {each.__name__: each for each in (collect, practise, evaluate, bounds, attempt, show)}
    for line in requests:
        request = json.loads(line)
        action = actions[request.pop("do")]
        try:
            answer = {"result": action(**request)}
        except Exception as error:  # noqa: BLE001 whatever it is, the bench has to hear of it
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    # What libraries print must not get among the answers.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, out)
