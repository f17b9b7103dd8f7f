"""A kinematic pick and place whose camera is off: cheap to learn on, and imitation alone does not solve it."""

from __future__ import annotations

import numpy as np

from physai_ros.policy.acting import ActingNetwork
from physai_ros.policy.exploration import Exploration
from physai_ros.training.dataset import Transitions

LIMIT = 40  # policy steps
STEP = 0.025  # [m]
GRASP = 0.010  # [m] from the object's centre within which closing takes hold of it
AT_GOAL = 0.02  # [m]
SIZE, ACTIONS = 16, 4


class DisplacedPick:
    """A gripper, an object and a goal; what is seen of the object is `offset` (2,) [m] beside where it is."""

    def __init__(self, offset: tuple[float, float], seed: int) -> None:
        self._offset = np.array(offset)
        self._generator = np.random.default_rng(seed)

    def episode(self, act, *, demonstrate: bool = False, noise: float = 0.0) -> Transitions:
        """One episode; `act` is called with observation and true situation."""
        draw = self._generator
        tool = np.array([*draw.uniform(-0.02, 0.02, 2), 0.12])
        item = draw.uniform(-0.1, 0.1, 2)
        goal = draw.uniform(-0.1, 0.1, 2)
        exploration = Exploration(noise, draw)
        held, grip, last, success = False, 1.0, np.zeros(ACTIONS), False
        seen, meant, done = [], [], []
        for _ in range(LIMIT):
            relative = np.concatenate([item + self._offset - tool[:2], [tool[2]], goal - tool[:2]])
            observation = np.concatenate([relative, np.tanh(relative / 0.02), [grip, held], last]).astype(np.float32)
            intent = act(observation, (tool, item, goal, held))
            action = exploration.disturbed(intent[None])[0]
            action[-1] = intent[-1] if abs(intent[-1]) > 0.2 else 0.0
            seen.append(observation)
            meant.append(intent)
            if action[-1]:
                grip = float(np.sign(action[-1]))
            action[-1] = grip
            done.append(action)
            last = action
            tool = tool + STEP * action[:3]
            tool[2] = max(tool[2], 0.0)
            if grip < 0 and not held and tool[2] < 0.02 and np.linalg.norm(tool[:2] - item) < GRASP:
                held = True
            if held:
                item = tool[:2].copy()
            if held and grip > 0:
                held = False
                success = bool(np.linalg.norm(item - goal) < AT_GOAL and tool[2] < 0.04)
                if success:
                    break
        count = len(seen)
        full = np.ones(count, dtype=np.float32)
        terminal = np.zeros(count, dtype=bool)
        terminal[-1] = success
        actions = np.array(meant if demonstrate else done, dtype=np.float32)[:, None]
        return Transitions(
            observations=np.array(seen),
            actions=np.clip(actions, -1, 1),
            action_known=full[:, None],
            imitable=(full > 0) & demonstrate & success,
            demonstration=(full > 0) & demonstrate,
            success=full * success,
            time_to_end=np.arange(count, 0, -1).astype(np.float32) / 10.0,
            force_excess=0.0 * full,
            intervention_age=full * np.inf,
            own=(full > 0) & ~np.bool_(demonstrate),
            executed=np.array(done, dtype=np.float32),
            terminal=terminal,
        )


def expert(observation: np.ndarray, situation: tuple) -> np.ndarray:
    """What a person would do who knows where everything is."""
    tool, item, goal, held = situation
    target = goal if held else item
    away = target - tool[:2]
    distance = float(np.linalg.norm(away))
    low = tool[2] < 0.03
    grip = -1.0 if held else 1.0
    height = 0.10
    if held and distance < 0.012:
        height, grip = 0.01, (1.0 if tool[2] < 0.03 else -1.0)
    elif not held and distance < 0.01:
        height = 0.01
        if tool[2] < 0.018 and distance < 0.004:
            grip = -1.0
    elif held and low:
        away = 0.0 * away
    motion = np.array([*away, height - tool[2]]) / STEP
    return np.array([*np.clip(motion, -1, 1), grip])


def policy(network) -> object:
    """What a network does."""
    acting = ActingNetwork(network)
    return lambda observation, _situation: acting.predict(observation).actions[0]


def success_rate(network, offset: tuple[float, float], episodes: int, seed: int) -> float:
    """Share of fresh episodes that succeed."""
    world, act = DisplacedPick(offset, seed), policy(network)
    return float(np.mean([world.episode(act).success[0] for _ in range(episodes)]))
