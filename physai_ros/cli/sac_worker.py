"""Run by an interpreter that has MetaWorld and Stable-Baselines3: its SAC, for `physai bench peers`.

Settings are a JSON object on standard input, every judgement is one on standard output. Reward is 1 for success, which
ends the episode, and 0 else; time running out is no end. The demonstrations lie in the replay buffer from the start,
with what was executed in them, and observations are normalized by them, as they are for the policy beside. All other
settings are that library's own. Nothing of this package is imported but `metaworld_worker`.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

import gymnasium
import numpy as np
import torch
from metaworld_worker import PRACTISED, judge, worlds
from stable_baselines3 import SAC

_FIRST = 20  # rollouts after which a policy of which fewer than half succeeded is not judged by more


class SparseTask(gymnasium.Env):
    """A MetaWorld task from one start after another; `standard` normalizes what is seen."""

    def __init__(self, task: str, seed: int, steps: int, standard: Standard) -> None:
        self._worlds, self._steps, self._standard = worlds(task, PRACTISED, seed), steps, standard
        size = len(standard.mean)
        self.observation_space = gymnasium.spaces.Box(-5.0, 5.0, (size,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """The next start."""
        super().reset(seed=seed, options=options)
        self._world, self._taken = next(self._worlds), 0
        observation, _ = self._world.reset()
        return self._standard(observation), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """One step; success ends the episode."""
        observation, _, _, truncated, info = self._world.step(action)
        self._taken += 1
        success = bool(info["success"] > 0)
        late = not success and (truncated or self._taken >= self._steps)
        return self._standard(observation), float(success), success, late, {}


class Standard:
    """Observations by mean and spread of the demonstrations, within five deviations."""

    def __init__(self, observations: np.ndarray) -> None:
        self.mean, spread = observations.mean(axis=0), observations.std(axis=0)
        self._scale = np.where(spread > 1e-6, 1.0 / np.maximum(spread, 1e-6), 0.0)

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Normalized observations (..., size)."""
        return np.clip((observation - self.mean) * self._scale, -5.0, 5.0).astype(np.float32)


def remember(model: SAC, path: str, standard: Standard) -> int:
    """Put demonstrations, up to their success, into the replay buffer; returns how many steps."""
    with np.load(path) as file:
        names = ("observations", "executed", "reached", "lengths", "final")
        observations, executed, reached, lengths, final = (file[name] for name in names)
    steps, begin = 0, 0
    for length, last in zip(lengths, final, strict=True):
        rows = slice(begin, begin + length)
        begin += length
        seen = standard(np.concatenate([observations[rows], last[None]]))
        for step in range(length):
            end = bool(reached[rows][step])
            reward, done = np.array([float(end)]), np.array([end])
            model.replay_buffer.add(
                seen[step][None], seen[step + 1][None], executed[rows][step][None], reward, done, [{}]
            )
            steps += 1
            if end:
                break
    return steps


def main() -> None:
    """Train, and judge every so many steps until the level or the end is reached."""
    settings = json.loads(sys.stdin.read())
    task, seed, limit, count = (settings[name] for name in ("task", "seed", "episode_steps", "held_out"))
    torch.set_num_threads(1)
    with np.load(settings["demonstrations"]) as file:
        standard = Standard(file["observations"])
    model = SAC("MlpPolicy", SparseTask(task, seed, limit, standard), seed=seed, device="cpu")
    remember(model, settings["demonstrations"], standard)

    def act(observation: np.ndarray) -> np.ndarray:
        return model.predict(standard(observation), deterministic=True)[0]

    cpu = 0.0
    for steps in range(settings["judge_every"], settings["most_steps"] + 1, settings["judge_every"]):
        began = time.process_time()
        model.learn(settings["judge_every"], reset_num_timesteps=False)
        cpu += time.process_time() - began
        outcomes = judge(act, task, min(_FIRST, count), seed, 0, limit)
        if 2 * sum(outcomes) >= len(outcomes) and len(outcomes) < count:
            outcomes += judge(act, task, count - len(outcomes), seed, len(outcomes), limit)
        point = {"own_steps": steps, "cpu_seconds": cpu}
        point |= {"success": float(np.mean(outcomes)), "rollouts": len(outcomes)}
        print(json.dumps(point), flush=True)
        if point["success"] >= settings["level"]:
            return


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
