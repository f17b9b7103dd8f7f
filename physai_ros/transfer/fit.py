"""A simulator fitted to an arm's recordings: which physics explain them, how surely, and what they cannot tell.

In the manner of DROPO (Tiboni, Arndt and Kyrki, "DROPO: Sim-to-real transfer with offline domain randomization", 2023):
recorded commands are replayed and the likelihood of the measured trajectories is maximised over the physics; the spread
that is left becomes the randomization. Where DROPO searches with CMA-ES over means and variances, here a Gauss-Newton
iteration with wide finite differences finds the posterior of a normal prior, which also says how well each parameter is
identified, for a twentieth of the simulations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.simulation.physics import ROBOT_SIM_PARAMS, PhysicsParameters
from physai_ros.transfer.command_replay import Channel, CommandReplay, channels_of
from physai_ros.transfer.parameter_space import ParameterSpace

ARM_PARAMETERS = (
    *("joint_friction", "joint_damping", "actuator_gain", "actuator_delay", "backlash", "payload"),
    *("goal_x", "goal_y", "goal_z"),
)
"""What a motion without objects can tell."""

OBJECT_PARAMETERS = (
    *("object_mass_scale", "object_friction", "grip_force"),
    *("calibration_x", "calibration_y", "calibration_z", "calibration_yaw"),
)
"""What handling objects can tell besides."""

IDENTIFIED_BELOW = 0.5
"""Share of its spread before the data below which a parameter's spread must fall to count as identified."""

_STEP = 0.015  # of the unit cube, for differences: a delay's is 3 ms, more than a time step
_ROBUST = 3.0  # tolerances beyond which a difference counts linearly (Huber)
_LEAST_DEVIATION = 0.5  # tolerances: no channel is believed to be better, however well it was met
_CANDIDATES = 400  # places of goals and objects that are tried before anything is simulated
_WORTH_A_STEP = 0.3  # in logarithms of the likelihood: less is not looked for
_DISTANT = 30.0  # tolerances beyond which it says no more than that something else happened


@dataclass(frozen=True)
class FittedPhysics:
    """The physics of an arm as its recordings tell them.

    Attributes:
        names: parameters that were fitted.
        mean, covariance: (k,) and (k, k), in coordinates of the parameters' ranges (`ParameterSpace`).
        prior_spread: standard deviation before the data, in the same coordinates.
        noise: standard deviations of the sensors by parameter name, measured and not fitted.
        gap_before, gap_after: root mean square difference from the recordings in tolerances, nominal and fitted.
        simulations: how many episodes were replayed.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    covariance: np.ndarray
    prior_spread: float
    noise: dict[str, float] = field(default_factory=dict)
    gap_before: float = float("nan")
    gap_after: float = float("nan")
    simulations: int = 0

    @property
    def values(self) -> dict[str, float]:
        """The likeliest value of every parameter by name, noise included."""
        return ParameterSpace(self.names).values(self.mean) | self.noise

    @property
    def spread(self) -> dict[str, float]:
        """Standard deviations by name, in each parameter's own unit."""
        widths = np.sqrt(np.diag(self.covariance)) * ParameterSpace(self.names).slope(self.mean)
        return dict(zip(self.names, widths.tolist(), strict=True))

    @property
    def unidentified(self) -> tuple[str, ...]:
        """Parameters that the recordings say little of: they stay randomized nearly as widely as before."""
        widths = np.sqrt(np.diag(self.covariance))
        return tuple(
            name for name, width in zip(self.names, widths, strict=True) if width > IDENTIFIED_BELOW * self.prior_spread
        )

    def interval(self, name: str, deviations: float = 1.96) -> tuple[float, float]:
        """Bounds of a parameter [its unit]: by default those of 95 %."""
        index, space = self.names.index(name), ParameterSpace(self.names)
        width = deviations * float(np.sqrt(self.covariance[index, index]))
        ends = []
        for offset in (-width, width):
            point = self.mean.copy()
            point[index] = np.clip(point[index] + offset, 0.0, 1.0)
            ends.append(space.values(point)[name])
        return ends[0], ends[1]

    def physics(self) -> PhysicsParameters:
        """The likeliest arm."""
        return PhysicsParameters().with_values(self.values)


def parameters_told_by(episodes: Sequence[Episode]) -> tuple[str, ...]:
    """Names of the parameters that recordings of this kind can tell."""
    handled = any(len(episode.object_names) for episode in episodes)
    return (*ARM_PARAMETERS, *OBJECT_PARAMETERS) if handled else ARM_PARAMETERS


def fit_physics(
    replay: CommandReplay,
    episodes: Sequence[Episode],
    *,
    ended: Sequence[Episode] = (),
    names: Sequence[str] | None = None,
    start: FittedPhysics | None = None,
    prior_spread: float = 0.2,
    iterations: int = 8,
    on_iteration: Callable[[int, float], None] = lambda index, gap: None,
) -> FittedPhysics:
    """The physics that explain these recordings best, before a normal prior about the nominal arm.

    Of `ended` only how far from the goal they ended is looked at, which takes no simulation. `start` is a fit to begin
    the search at, of fewer recordings; it is no evidence. `on_iteration` hears of every iteration and the gap after it.

    Raises:
        ValueError: there is no recording.
    """
    if not episodes:
        raise ValueError("no recording to fit physics to; run some episodes on the arm first")
    space = ParameterSpace(names or parameters_told_by(episodes))
    noise = sensor_noise(episodes)
    problem = _Problem(replay, episodes, ended, space)
    nominal = space.nominal
    point = nominal if start is None or start.names != space.names else start.mean
    before = problem.residuals(nominal)
    point = problem.placed(point, prior_spread)
    here = problem.residuals(point)
    precision = np.eye(len(space)) / prior_spread**2
    slopes = problem.slopes(point, here)
    for index in range(iterations):
        moved = _step(problem, point, here, slopes, nominal, precision)
        if moved is None:
            break
        point, here = moved
        on_iteration(index + 1, _gap(here))
        slopes = problem.slopes(point, here)
    weights = problem.information(here)
    covariance = np.linalg.inv(slopes.T @ (weights[:, np.newaxis] * slopes) + precision)
    return FittedPhysics(
        names=space.names,
        mean=point,
        covariance=0.5 * (covariance + covariance.T),
        prior_spread=prior_spread,
        noise=noise,
        gap_before=_gap(before),
        gap_after=_gap(here),
        simulations=problem.simulations,
    )


def gap_of(replay: CommandReplay, episodes: Sequence[Episode], physics: PhysicsParameters) -> float:
    """Root mean square difference of recordings from the simulator with these physics, in tolerances."""
    problem = _Problem(replay, episodes, (), ParameterSpace(("payload",)))
    return _gap(problem.residuals_of(physics))


def sensor_noise(episodes: Sequence[Episode]) -> dict[str, float]:
    """Standard deviations of the sensors by parameter name, from what changes faster than an arm can.

    Second differences of white noise have six times its variance; noise with a memory is taken for less than it is.
    """
    encoder = np.concatenate([np.diff(episode.series["joint_positions"], 2, axis=0) for episode in episodes])
    found = {"encoder_noise": _robust_spread(encoder)}
    force = np.concatenate([np.diff(episode.series["wrench"][:, :3], 2, axis=0) for episode in episodes])
    found["force_noise"] = _robust_spread(force)
    if episodes[0].object_names:
        poses = np.concatenate([np.diff(e.series["object_poses"][:, :, :3], 2, axis=0) for e in episodes])
        found["object_noise"] = _robust_spread(poses)
    return {name: float(np.clip(value, *ROBOT_SIM_PARAMS[name][1:3])) for name, value in found.items()}


def _robust_spread(second_differences: np.ndarray) -> float:
    return 1.4826 * float(np.median(np.abs(second_differences))) / np.sqrt(6.0)


class _Problem:
    """Differences of recordings from replays as one vector (m,), in tolerances; NaN counts as none."""

    def __init__(
        self,
        replay: CommandReplay,
        episodes: Sequence[Episode],
        ended: Sequence[Episode],
        space: ParameterSpace,
    ) -> None:
        self._replay, self._space = replay, space
        self._episodes, self._ended = episodes, (*episodes, *ended)
        self._targets = [channels_of(episode) for episode in episodes]
        self._results = np.array([channels_of(e)["result"].values[0, 0] for e in self._ended])
        self._tolerance = self._targets[0]["result"].tolerance
        self.simulations = 0
        self._simulated: dict[PhysicsParameters, list[dict[str, Channel]]] = {}
        self._groups = [
            (channel.name, episode, channel.values.shape)
            for episode, target in enumerate(self._targets)
            for channel in target.values()
            if channel.name != "result"
        ]
        self._groups.append(("result", 0, (len(self._ended), 1)))

    def residuals(self, point: np.ndarray) -> np.ndarray:
        return self.residuals_of(PhysicsParameters().with_values(self._space.values(point)))

    def residuals_of(self, physics: PhysicsParameters) -> np.ndarray:
        parts = []
        # Where goals really are moves nothing: those who differ in that alone share a simulation.
        moving = physics.with_values({"goal_x": 0.0, "goal_y": 0.0, "goal_z": 0.0})
        if moving not in self._simulated:
            self._simulated = dict(list(self._simulated.items())[-1:])
            self._simulated[moving] = [self._replay.run(episode, moving) for episode in self._episodes]
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
        parts.append(self._result_differences(physics))
        return np.clip(np.concatenate(parts), -_DISTANT, _DISTANT)

    def _result_differences(self, physics: PhysicsParameters) -> np.ndarray:
        """How far from the goal the episodes ended (n,) other than these physics say, in tolerances; 0 if unknown."""
        said = np.array([self._replay.distance(episode, physics) for episode in self._ended])
        return np.nan_to_num((self._results - said) / self._tolerance)

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
            differences = self._result_differences(physics)
            nominal = self._space.nominal
            cost = float(np.sum(_huber_loss(differences) / _LEAST_DEVIATION**2))
            cost += 0.5 * float(np.sum((trial - nominal) ** 2)) / prior_spread**2
            if cost < least:
                best, least = trial, cost
        return best

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
            memory = float(np.clip(np.mean(pairs), 0.0, 0.98)) if pairs else 0.0
            witness = (1.0 - memory) / (1.0 + memory)
            for part, values in groups:
                weights[part] = (witness * _huber(values) / variance).ravel()
        return weights


def _step(
    problem: _Problem,
    point: np.ndarray,
    here: np.ndarray,
    slopes: np.ndarray,
    nominal: np.ndarray,
    precision: np.ndarray,
) -> tuple[np.ndarray, np.ndarray] | None:
    """The next point and its residuals, None where nothing nearby is better."""
    weights = problem.information(here)

    def cost(at: np.ndarray, residuals: np.ndarray) -> float:
        data = float(np.sum(_scale(weights, here) * _huber_loss(residuals)))
        return data + 0.5 * float((at - nominal) @ precision @ (at - nominal))

    old = cost(point, here)
    hessian = slopes.T @ (weights[:, np.newaxis] * slopes) + precision
    gradient = slopes.T @ (weights * here) + precision @ (point - nominal)
    for damping in (0.0, 1.0, 10.0):
        way = -np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), gradient)
        moved = np.clip(point + way, 0.0, 1.0)
        residuals = problem.residuals(moved)
        if cost(moved, residuals) < old - _WORTH_A_STEP:
            return moved, residuals
    return None


def _scale(weights: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Weights without the share that outliers lose, which `_huber_loss` counts itself."""
    return weights / _huber(residuals)


def _huber(residuals: np.ndarray) -> np.ndarray:
    return np.minimum(1.0, _ROBUST / np.maximum(np.abs(residuals), 1e-9))


def _huber_loss(residuals: np.ndarray) -> np.ndarray:
    size = np.abs(residuals)
    return np.where(size <= _ROBUST, 0.5 * size**2, _ROBUST * (size - 0.5 * _ROBUST))


def _gap(residuals: np.ndarray) -> float:
    return float(np.sqrt(np.mean(residuals**2)))
