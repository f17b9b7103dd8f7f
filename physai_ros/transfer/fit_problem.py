"""Recordings beside replays as one vector of differences, with the weights that a likelihood gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.transfer.command_replay import MOST_CYCLES, Channel, CommandReplay, channels_of
from physai_ros.transfer.grasp_evidence import grasp_of
from physai_ros.transfer.parameter_space import ParameterSpace
from physai_ros.transfer.sensor_noise import sensor_noise

_ONCE = ("result", "grasp")  # channels of one row an episode
_STEP = 0.015  # of the unit cube, for differences: a delay's is 3 ms, more than a time step
_ROBUST = 3.0  # tolerances beyond which a difference counts linearly (Huber)
_LEAST_DEVIATION = 0.5  # tolerances: no channel is believed to be better, however well it was met
_CANDIDATES = 400  # places of goals and objects that are tried before anything is simulated
_DISTANT = 30.0  # tolerances beyond which it says no more than that something else happened


class FitProblem:
    """Differences of recordings from replays as one vector (m,), in tolerances; NaN counts as none."""

    def __init__(
        self,
        replay: CommandReplay,
        episodes: Sequence[Episode],
        ended: Sequence[Episode],
        space: ParameterSpace,
        most_cycles: int = MOST_CYCLES,
    ) -> None:
        self._replay, self._space, self._most_cycles = replay, space, most_cycles
        self._episodes, self._ended = episodes, (*episodes, *ended)
        self._targets = [channels_of(episode, most_cycles) for episode in episodes]
        self._results = np.array([channels_of(e)["result"].values[0, 0] for e in self._ended])
        self._tolerance = self._targets[0]["result"].tolerance
        self._ends = [replay.end(episode) for episode in self._ended]
        noise = sensor_noise(episodes)
        unsure = [end.noise(noise) for end in self._ends]
        self._unsure_results = np.nan_to_num(np.square(np.array(unsure) / self._tolerance))[:, np.newaxis]
        self.simulations = 0
        self._simulated: dict[PhysicsParameters, list[dict[str, Channel]]] = {}
        self._groups = [
            (channel.name, episode, channel.values.shape)
            for episode, target in enumerate(self._targets)
            for channel in target.values()
            if channel.name != "result"
        ]
        self._grasps = [grasp_of(episode, replay.finger_axis) for episode in self._ended]
        self._groups.append(("result", 0, (len(self._ended), 1)))
        self._groups.append(("grasp", 0, (len(self._ended), 2)))

    def residuals(self, point: np.ndarray) -> np.ndarray:
        """The differences (m,) at a point (k,)."""
        return self.residuals_of(PhysicsParameters().with_values(self._space.values(point)))

    def residuals_of(self, physics: PhysicsParameters) -> np.ndarray:
        """The differences (m,) with these physics."""
        parts = []
        # Where goals really are moves nothing: those who differ in that alone share a simulation.
        moving = physics.with_values({"goal_x": 0.0, "goal_y": 0.0, "goal_z": 0.0})
        if moving not in self._simulated:
            self._simulated = dict(list(self._simulated.items())[-1:])
            self._simulated[moving] = self._replay.run_all(self._episodes, moving, self._most_cycles)
            self.simulations += len(self._episodes)
        for target, simulated in zip(self._targets, self._simulated[moving], strict=True):
            for name, channel in target.items():
                if name == "result":
                    continue
                difference = channel.values - simulated[name].values
                if name == "headings":
                    # A cube looks the same after a quarter turn.
                    difference = (difference + np.pi / 4) % (np.pi / 2) - np.pi / 4
                parts.append((difference / channel.tolerance).ravel())
        parts.append(self._told_differences(physics))
        return np.clip(np.concatenate(parts), -_DISTANT, _DISTANT)

    def _told_differences(self, physics: PhysicsParameters) -> np.ndarray:
        """How far from the goal episodes ended (n,), and how objects lay in the fingers (2 n,), other than they say.

        In tolerances, 0 if unknown. It takes no simulation: the recordings themselves tell it.
        """
        said = np.array([end.distance(physics) for end in self._ends])
        results = np.nan_to_num((self._results - said) / self._tolerance)
        grasps = [np.zeros(2) if grasp is None else grasp.differences(physics) for grasp in self._grasps]
        return np.concatenate([results, np.concatenate(grasps)])

    def placed(self, point: np.ndarray, prior_spread: float) -> np.ndarray:
        """The point with goals and objects where they explain best how far from the goal the episodes ended.

        One distance fits any place on a sphere, so that this has several minima: a population is searched, which is
        cheap, since nothing need be simulated.
        """
        told = np.array([name.startswith(("goal_", "calibration_")) for name in self._space.names])
        generator, best, least = np.random.default_rng(len(self._episodes)), point, np.inf
        width = prior_spread
        for index in range(_CANDIDATES + 1):
            trial = np.where(told & (index > 0), best + width * generator.standard_normal(len(point)), best)
            trial = np.clip(trial, 0.0, 1.0)
            width = max(0.02, 0.99 * width)
            physics = PhysicsParameters().with_values(self._space.values(trial))
            differences = self._told_differences(physics)
            nominal = self._space.nominal
            cost = float(np.sum(huber_loss(differences) / _LEAST_DEVIATION**2))
            cost += 0.5 * float(np.sum((trial - nominal) ** 2)) / prior_spread**2
            if cost < least:
                best, least = trial, cost
        return best

    def goal_density(
        self, point: np.ndarray, weights: np.ndarray, prior_spread: float
    ) -> Callable[[np.ndarray], float]:
        """Logarithm of the posterior of where goals are, all else as at `point` (k,), in coordinates of `goals`.

        `weights` (m,) are without the share that outliers lose. It takes no simulation.
        """
        goals, nominal = self.goals, self._space.nominal[self.goals]
        told = weights[-len(self._ended) * 3 :]

        def density(place: np.ndarray) -> float:
            moved = point.copy()
            moved[goals] = place
            differences = self._told_differences(PhysicsParameters().with_values(self._space.values(moved)))
            loss = huber_loss(np.clip(differences, -_DISTANT, _DISTANT))
            return -float(told @ loss) - 0.5 * float(np.sum((place - nominal) ** 2)) / prior_spread**2

        return density

    @property
    def goals(self) -> list[int]:
        """Coordinates that say where goals are."""
        return [index for index, name in enumerate(self._space.names) if name.startswith("goal_")]

    def slopes(self, point: np.ndarray, here: np.ndarray) -> np.ndarray:
        """Change (m, k) of the residuals by each coordinate."""
        columns = np.zeros((len(here), len(point)))
        # Goals first: they need no simulation but the one that was made last, at the point itself.
        for index in sorted(range(len(point)), key=lambda i: not self._space.names[i].startswith("goal_")):
            step = _STEP if point[index] + _STEP <= 1.0 else -_STEP
            moved = point.copy()
            moved[index] += step
            columns[:, index] = (self.residuals(moved) - here) / step
        return columns

    def information(self, residuals: np.ndarray) -> np.ndarray:
        """Weight (m,) of each difference in the posterior.

        One over the variance that is left in its channel, less for outliers, and less for what repeats: neighbours in
        time that agree are one witness (an autoregressive model of first order).
        """
        weights, start = np.zeros_like(residuals), 0
        by_name: dict[str, list[tuple[slice, np.ndarray]]] = {}
        for name, _episode, shape in self._groups:
            size = int(np.prod(shape))
            part = slice(start, start + size)
            by_name.setdefault(name, []).append((part, residuals[part].reshape(shape)))
            start += size
        for groups in by_name.values():
            everything = np.concatenate([values.ravel() for _, values in groups])
            variance = max(float(np.mean(np.minimum(np.abs(everything), _ROBUST * 2) ** 2)), _LEAST_DEVIATION**2)
            pairs = [(v[1:] * v[:-1]).sum() / max(float((v**2).sum()), 1e-9) for _, v in groups if len(v) > 2]
            # Ends of episodes are witnesses of their own, however alike.
            memory = float(np.clip(np.mean(pairs), 0.0, 0.98)) if pairs and name not in _ONCE else 0.0
            witness = (1.0 - memory) / (1.0 + memory)
            if name == "result":
                # What a fit leaves of a few distances is less than what sensors, and a last motion, make of each.
                variance = np.maximum(variance, self._unsure_results + _LEAST_DEVIATION**2)
            for part, values in groups:
                weights[part] = (witness * huber_weight(values) / variance).ravel()
        return weights


def huber_weight(residuals: np.ndarray) -> np.ndarray:
    """Weight of each difference beside the square: 1, less for what is far off."""
    return np.minimum(1.0, _ROBUST / np.maximum(np.abs(residuals), 1e-9))


def huber_loss(residuals: np.ndarray) -> np.ndarray:
    """Half the square of each difference, linear for what is far off."""
    size = np.abs(residuals)
    return np.where(size <= _ROBUST, 0.5 * size**2, _ROBUST * (size - 0.5 * _ROBUST))
