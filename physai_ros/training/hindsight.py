"""Goals that an episode achieved by accident: under these it is no failure."""

from __future__ import annotations

import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.tasks.task import Task

_AT_ONCE = 1.0  # [s] what is achieved within this time was so from the start, and teaches nothing
_STILL = 10  # samples over which an achieved goal is taken, so that the noise of one is none of the goal's
_ALIKE = 10  # samples: goals that are achieved at the same moment are one


def achieved_goals(episode: Episode, task: Task, instants: int) -> list[tuple[np.ndarray, int]]:
    """Goals (k,) that an episode achieved, each with the sample at which it had; none where it achieved nothing.

    What a state has achieved says the task, for the last state ("final"), or for `instants` evenly spaced ones up to it
    ("future"). Whether that would have been a success says the task's own test, run over the episode again under that
    goal: a tool that only passed by, or a cube that was never lifted, is none. Source: Andrychowicz et al., "Hindsight
    experience replay", 2017.
    """
    stamps, states = episode.series["stamp"], {}
    found: list[tuple[np.ndarray, int]] = []
    start = int(np.argmax(episode.series["sequence"] >= episode.context.start_sequence))

    def state(index: int) -> object:
        if index not in states:
            states[index] = episode.state(index)
        return states[index]

    for instant in range(instants, 0, -1):
        end = start + (len(stamps) - start) * instant // instants - 1
        achieved = [task.achieved_goal(state(index)) for index in range(max(end - _STILL, start), end + 1)]
        if any(each is None or not np.isfinite(each).all() for each in achieved):
            continue
        goal = np.median(np.array(achieved), axis=0)
        test = task.test()
        for index in range(start, len(stamps)):
            outcome = test.update(state(index), float(stamps[index] - stamps[start]), goal)
            if outcome.done:
                late = stamps[index] - stamps[start] > _AT_ONCE
                if outcome.success and late and all(abs(index - other) > _ALIKE for _, other in found):
                    found.append((goal, index))
                break
    return found
