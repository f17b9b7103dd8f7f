"""From a recorded episode to what can be learned from it, one row a policy step."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np

from physai_ros.experience.episode import Episode, Purpose
from physai_ros.policy.encoder import EncoderShape
from physai_ros.policy.observation import ObservationEncoder
from physai_ros.robot.cartesian_reference import CYCLES_PER_STEP
from physai_ros.robot.command import CommandSource
from physai_ros.robot.kinematics import Kinematics
from physai_ros.tasks.task import Task
from physai_ros.training.hindsight import achieved_goals
from physai_ros.training.sightings import images_at
from physai_ros.training.transitions import came_to_its_end, executed_actions

_GRIPPER_CHANGE = 0.5  # of the command, which is in -1 ... 1, within a policy step


class EpisodeUnusable(ValueError):
    """An episode cannot be learned from as a whole; the message says why."""


_NO_COLUMNS = ("quarantined", "hindsight", "images")
_FARTHEST = 3.0  # labels beyond this many action scales are no intent
_FUTURES = 4  # instants of an episode whose achieved goals it is relabelled with


@dataclass
class Transitions:
    """Policy steps as columns of n rows.

    | column | shape | meaning |
    |---|---|---|
    | observations | (n, size) float32 | what the policy saw |
    | actions | (n, chunk_steps, action_size) float32 | intent of whoever was in control from here on, in -1 ... 1 |
    | action_known | (n, chunk_steps) float32 | 1 where the same source was still in control |
    | imitable | (n,) bool | a demonstration or an operator's correction |
    | demonstration | (n,) bool | of a demonstration |
    | success | (n,) float32 | 1 if the episode succeeded |
    | time_to_end | (n,) float32 | time until the episode ended [s] |
    | force_excess | (n,) float32 | largest tool force of the step over the task's budget, minus one, at least 0 |
    | intervention_age | (n,) float32 | time since the operator took over [s]; inf while the policy is in control |
    | own | (n,) bool | done by the policy itself in a training episode |
    | executed | (n, action_size) float32 | what was done, whoever meant what, in -1 ... 1; NaN where it is not known |
    | step | (n,) int64 | number of the policy step in its episode |
    | terminal | (n,) bool | the episode came to its end with this step; time running out is no end |

    `images` (n, height, width, channels) uint8 are what a camera saw, None without one. `hindsight` holds the steps of
    a failed episode again, under goals that it achieved; `quarantined` says what was left out.
    """

    observations: np.ndarray
    actions: np.ndarray
    action_known: np.ndarray
    imitable: np.ndarray
    demonstration: np.ndarray
    success: np.ndarray
    time_to_end: np.ndarray
    force_excess: np.ndarray
    intervention_age: np.ndarray
    own: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    executed: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    step: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    terminal: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    quarantined: tuple[str, ...] = ()
    hindsight: Transitions | None = None
    images: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self)
        if not len(self.own):
            self.own = np.zeros(count, dtype=bool)
        if not len(self.executed):
            self.executed = np.full((count, self.actions.shape[-1]), np.nan, dtype=np.float32)
        if not len(self.step):
            self.step = np.arange(count)
        if not len(self.terminal):
            self.terminal = np.zeros(count, dtype=bool)

    def __len__(self) -> int:
        return len(self.observations)

    @property
    def event_time(self) -> np.ndarray:
        """Time (n,) to the nearest change of the gripper's command among these rows of one episode [s]; inf: none.

        A command counts if it lasts: the median over five steps is looked at, or every wrong label would be an event.
        """
        if not len(self):
            return np.zeros(0, dtype=np.float32)
        padded = np.pad(self.actions[:, 0, -1], 2, mode="reflect")
        gripper = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
        time = -self.time_to_end
        changes = time[1:][np.abs(np.diff(gripper)) > _GRIPPER_CHANGE]
        nearest = np.full(len(self), np.inf, dtype=np.float32)
        for change in changes:
            np.minimum(nearest, np.abs(time - change), out=nearest)
        return nearest

    def columns(self) -> dict[str, np.ndarray]:
        """The columns by name."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _NO_COLUMNS}

    def select(self, rows: np.ndarray) -> Transitions:
        """The rows of a mask or an index array."""
        images = None if self.images is None else self.images[rows]
        return Transitions(**{name: column[rows] for name, column in self.columns().items()}, images=images)


class TransitionBuilder:
    """Reads episodes with the encoder and the grid of policy steps that the runtime used.

    With `senses` every step has what the policy's cameras saw in it, where the episode's pictures were read as well.

    Attributes:
        hindsight: which goals failed episodes are relabelled with, `off`, `final` or `future`.
    """

    def __init__(
        self,
        kinematics: Kinematics,
        task: Task,
        *,
        chunk_steps: int = 1,
        cycles_per_step: int = CYCLES_PER_STEP,
        hindsight: str = "off",
        senses: EncoderShape | None = None,
    ) -> None:
        self._senses = senses
        self._encoder = ObservationEncoder(kinematics, task.features, task.action_axes, task.action_scale)
        self._kinematics = kinematics
        self._task = task
        self._axes = list(task.action_axes)
        self._scale = np.array(task.action_scale)
        self._chunk = chunk_steps
        self._cycles = cycles_per_step
        self.hindsight = hindsight

    def build(self, episode: Episode) -> Transitions:
        """Transitions of one episode; rows that cannot be used are left out and named in `quarantined`.

        The policy's own steps are kept with their outcome but are not `imitable`: imitating one's own successes made
        policies worse. A failed demonstration is not imitable either. What a failed episode achieved all the same is in
        `hindsight`, where the builder was asked for it.

        Raises:
            EpisodeUnusable: the episode is of another task, an evaluation, empty, or lacks columns.
        """
        self._check(episode)
        series = episode.series
        sequence = series["sequence"].astype(np.int64)
        steps = (sequence - episode.context.start_sequence) // self._cycles
        # The runtime decides on the first state that arrives of each policy step.
        first = np.flatnonzero((steps >= 0) & (np.diff(steps, prepend=-1) > 0))
        if not len(first):
            raise EpisodeUnusable(f"episode {episode.context.episode_id} holds no policy step: it is too short")
        episode_id, last = episode.context.episode_id, len(sequence) - 1
        goal, success = np.array(episode.context.goal), episode.outcome.success
        transitions = _without_bad_rows(self._rows(episode, first, steps, goal, success, last), episode_id)
        if self.hindsight != "off" and not success:
            transitions.hindsight = self._relabelled(episode, first, steps)
        return transitions

    def _relabelled(self, episode: Episode, first: np.ndarray, steps: np.ndarray) -> Transitions | None:
        """The steps that led to goals achieved by accident, each under that goal; None where nothing was."""
        parts = []
        for goal, last in achieved_goals(episode, self._task, 1 if self.hindsight == "final" else _FUTURES):
            part = self._rows(episode, first[first <= last], steps, goal, True, last)
            driven = part.own | (part.intervention_age < np.inf) | part.imitable
            parts.append(part.select(driven & _plausible(part.actions[:, 0])))
        if not parts:
            return None
        columns = [part.columns() for part in parts]
        whole = Transitions(**{name: np.concatenate([c[name] for c in columns]) for name in columns[0]})
        return _without_bad_rows(whole, episode.context.episode_id)

    def _rows(
        self, episode: Episode, first: np.ndarray, steps: np.ndarray, goal: np.ndarray, success: bool, last: int
    ) -> Transitions:
        """The policy steps that begin at the samples `first` (n,), as if this had been the goal and `last` the end."""
        series = episode.series
        self._encoder.reset()
        observations = np.stack([self._encoder.encode(episode.state(int(i)), goal) for i in first])
        source = series["command_source"][first]
        labels = np.empty((len(first), len(self._axes) + 1), dtype=np.float32)
        labels[:, :-1] = series["action_ee_delta"][first][:, self._axes] / self._scale
        labels[:, -1] = series["action_gripper"][first]
        actions, known = self._chunks(labels, source, steps[first])
        demonstration = np.full(len(first), episode.context.purpose == Purpose.DEMONSTRATE)
        if demonstration[0]:
            imitable = np.isin(source, (CommandSource.POLICY, CommandSource.OPERATOR)) & success
        else:
            imitable = source == CommandSource.OPERATOR
        time = series["stamp"][first]
        terminal = np.zeros(len(first), dtype=bool)
        terminal[-1:] = last < len(series["stamp"]) - 1 or came_to_its_end(episode, self._task)
        return Transitions(
            observations=observations,
            actions=actions,
            action_known=known,
            imitable=imitable,
            demonstration=demonstration,
            success=np.full(len(first), float(success), dtype=np.float32),
            time_to_end=(series["stamp"][last] - time).astype(np.float32),
            force_excess=self._force_excess(series["wrench"][: last + 1], first),
            intervention_age=_age_of_run(source == CommandSource.OPERATOR, time),
            own=(source == CommandSource.POLICY) & ~demonstration,
            executed=executed_actions(episode, first, labels, self._kinematics, self._task),
            step=steps[first],
            terminal=terminal,
            images=images_at(episode, time, self._senses),
        )

    def _check(self, episode: Episode) -> None:
        context = episode.context
        if context.task != self._task.name:
            raise EpisodeUnusable(
                f"episode {context.episode_id} is of task '{context.task}', expected '{self._task.name}'"
            )
        if context.purpose == Purpose.EVALUATE:
            raise EpisodeUnusable(f"episode {context.episode_id} is an evaluation: those are never learned from")
        needed = {"stamp", "sequence", "wrench", "command_source", "action_ee_delta", "action_gripper"}
        missing = needed - set(episode.series)
        if missing:
            raise EpisodeUnusable(f"episode {context.episode_id} lacks the columns {', '.join(sorted(missing))}")
        shape = np.shape(episode.series["action_ee_delta"])
        if shape != (len(episode), 6):
            raise EpisodeUnusable(
                f"episode {context.episode_id}: action_ee_delta has shape {shape}, expected ({len(episode)}, 6)"
            )

    def _chunks(self, labels: np.ndarray, source: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count = len(labels)
        actions = np.zeros((count, self._chunk, labels.shape[1]), dtype=np.float32)
        known = np.zeros((count, self._chunk), dtype=np.float32)
        for ahead in range(self._chunk):
            rows = np.arange(count - ahead)
            actions[rows, ahead] = labels[rows + ahead]
            unbroken = (source[rows + ahead] == source[rows]) & (steps[rows + ahead] - steps[rows] == ahead)
            known[rows, ahead] = unbroken * (known[rows, ahead - 1] if ahead else 1.0)
        return actions, known

    def _force_excess(self, wrench: np.ndarray, first: np.ndarray) -> np.ndarray:
        force = np.nan_to_num(np.linalg.norm(wrench[:, :3], axis=1))
        peak = np.maximum.reduceat(force, first)
        return np.maximum(peak / self._task.force_budget - 1.0, 0.0).astype(np.float32)


def _age_of_run(active: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Time (n,) [s] since the current run of `active` began; inf where it is not active."""
    began = active & ~np.concatenate([[False], active[:-1]])
    start = np.maximum.accumulate(np.where(began, time, -np.inf))
    with np.errstate(invalid="ignore"):
        return np.where(active, time - start, np.inf).astype(np.float32)


def _plausible(labels: np.ndarray) -> np.ndarray:
    """Whether labels (n, action_size) are finite and no farther out than intent can be, (n,)."""
    with np.errstate(invalid="ignore"):
        return (np.abs(labels) <= _FARTHEST).all(axis=-1)


def _without_bad_rows(transitions: Transitions, episode_id: str) -> Transitions:
    """The rows with plausible labels, clipped to -1 ... 1; the others are named.

    Steps that nobody imitates carry no label: an unknown intent there is no fault.
    """
    labels, plausible = transitions.actions[:, 0], _plausible(transitions.actions)
    bad = transitions.imitable & ~plausible[:, 0]
    transitions.own &= plausible[:, 0]
    transitions.action_known *= plausible
    transitions.actions = np.clip(np.where(plausible[..., None], transitions.actions, 0.0), -1.0, 1.0)
    kept = transitions.select(~bad)
    kept.quarantined = tuple(
        f"episode {episode_id}, policy step {row}: the label is "
        f"{'more than three times the action scale' if np.isfinite(labels[row]).all() else 'not finite'}: "
        f"{np.round(labels[row], 3).tolist()}"
        for row in np.flatnonzero(bad)
    )
    return kept
