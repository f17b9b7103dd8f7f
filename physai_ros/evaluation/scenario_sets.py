"""Which start states a trial may use: streams of seeds that never meet."""

from __future__ import annotations

import numpy as np

from physai_ros.tasks.task import Scenario, Task

# The number is part of every seed of the set: changing one changes what past runs were tested on.
SCENARIO_SETS = {
    "train": 1,
    "promotion": 2,
    "held_out": 3,
    "warm_start": 4,
    "nominal": 5,
    "calibration": 6,
    "randomized": 7,
    "stress": 8,
}
_SEED_BITS, _INDEX_BITS = 20, 29


def scenario_seeds(set_name: str, seed: int, count: int, start: int = 0) -> tuple[int, ...]:
    """`count` scenario seeds of a set, from index `start` on; the same arguments give the same seeds.

    Set, `seed` and index lie in bit fields of their own, so that seeds of two sets, or of two values of `seed`, differ
    by construction. They are above zero and below 2**53, which JSON readers hold exactly.

    Raises:
        ValueError: the set is unknown, or a number does not fit its field.
    """
    if set_name not in SCENARIO_SETS:
        raise ValueError(f"unknown scenario set '{set_name}'; known are: {', '.join(sorted(SCENARIO_SETS))}")
    if not 0 <= seed < 2**_SEED_BITS:
        raise ValueError(f"seed is {seed}; expected 0 to {2**_SEED_BITS - 1}")
    if start < 0 or count < 0 or start + count > 2**_INDEX_BITS:
        raise ValueError(f"scenarios {start} to {start + count} of '{set_name}'; expected 0 to {2**_INDEX_BITS}")
    base = (SCENARIO_SETS[set_name] << _SEED_BITS | seed) << _INDEX_BITS
    return tuple(base | index for index in range(start, start + count))


def set_of_seed(scenario_seed: int) -> str | None:
    """Name of the set that a scenario seed belongs to; None if it is of none (a seed that somebody typed)."""
    number = scenario_seed >> (_SEED_BITS + _INDEX_BITS)
    return next((name for name, value in SCENARIO_SETS.items() if value == number), None)


def index_of_seed(scenario_seed: int) -> int:
    """Index of a scenario seed in its stream."""
    return scenario_seed & (2**_INDEX_BITS - 1)


def scenario_of(task: Task, scenario_seed: int) -> Scenario:
    """The scenario that a seed stands for: the one that the task draws from it."""
    return task.sample_scenario(np.random.default_rng(scenario_seed))
