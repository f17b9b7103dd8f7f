"""A simulator fitted to an arm's recordings: which physics explain them, how surely, and what they cannot tell.

In the manner of DROPO (Tiboni, Arndt and Kyrki, "DROPO: Sim-to-real transfer with offline domain randomization", 2023):
recorded commands are replayed and the likelihood of the measured trajectories is maximised over the physics; the spread
that is left becomes the randomization. Where DROPO searches with CMA-ES over means and variances, here a Gauss-Newton
iteration with wide finite differences finds the posterior of a normal prior, which also says how well each parameter is
identified, for a twentieth of the simulations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.simulation.physics import ROBOT_SIM_PARAMS, PhysicsParameters
from physai_ros.transfer.command_replay import CommandReplay
from physai_ros.transfer.fit_problem import FitProblem, huber_loss, huber_weight
from physai_ros.transfer.fitted_physics import FittedPhysics
from physai_ros.transfer.goal_posterior import sampled
from physai_ros.transfer.parameter_space import ParameterSpace
from physai_ros.transfer.sensor_noise import sensor_noise

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

_REPLAYED_EPISODES = 8  # of many; of the others only how they ended counts
_FREE_CYCLES = 120  # at the start of an episode, in which an arm is hardly ever at what it is to handle
_WORTH_A_STEP = 0.3  # in logarithms of the likelihood: after a step that gained less no other is looked for


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
    problem = FitProblem(replay, episodes, ended, space)
    nominal = space.nominal
    point = nominal if start is None or start.names != space.names else start.mean
    before = problem.residuals(nominal)
    if start is None and episodes[0].object_names:
        point = _from_free_motion(replay, episodes, space, prior_spread, iterations)
    point = problem.placed(point, prior_spread)
    precision = np.eye(len(space)) / prior_spread**2
    point, here, slopes = _search(problem, point, nominal, precision, iterations, on_iteration)
    weights = problem.information(here)
    covariance = np.linalg.inv(slopes.T @ (weights[:, np.newaxis] * slopes) + precision)
    if problem.goals:
        density = problem.goal_density(point, _scale(weights, here), prior_spread)
        point, covariance = _with_goals(problem.goals, density, point, covariance)
    return FittedPhysics(
        names=space.names,
        mean=point,
        covariance=0.5 * (covariance + covariance.T) + _rounding(space),
        prior_spread=prior_spread,
        noise=noise,
        gap_before=_gap(before),
        gap_after=_gap(here),
        simulations=problem.simulations,
    )


def fit_to_many(
    replay: CommandReplay, recordings: Sequence[Episode], *, start: FittedPhysics | None = None, iterations: int = 8
) -> FittedPhysics:
    """What `fit_physics` finds in recordings of which only an even choice is replayed.

    So that policies that went elsewhere, earlier and later ones, all tell of it.
    """
    chosen = np.unique(np.linspace(0, len(recordings) - 1, _REPLAYED_EPISODES).astype(int)).tolist()
    others = [episode for index, episode in enumerate(recordings) if index not in chosen]
    replayed = [recordings[index] for index in chosen]
    return fit_physics(replay, replayed, ended=others, start=start, iterations=iterations)


def gap_of(replay: CommandReplay, episodes: Sequence[Episode], physics: PhysicsParameters) -> float:
    """Root mean square difference of recordings from the simulator with these physics, in tolerances."""
    problem = FitProblem(replay, episodes, (), ParameterSpace(("payload",)))
    return _gap(problem.residuals_of(physics))


def _with_goals(
    goals: list[int], density: Callable[[np.ndarray], float], point: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Point (k,) and covariance (k, k) with the true posterior of the coordinates `goals`, given the others.

    How they go with the others stays as the slopes say.
    """
    others = np.setdiff1d(np.arange(len(point)), goals)
    rest = covariance[np.ix_(others, others)]
    follow = covariance[np.ix_(goals, others)] @ np.linalg.inv(rest)
    alone = covariance[np.ix_(goals, goals)] - follow @ rest @ follow.T
    mean, alone = sampled(density, point[goals], alone)
    found, centre = covariance.copy(), point.copy()
    centre[goals] = mean
    found[np.ix_(goals, goals)] = alone + follow @ rest @ follow.T
    return centre, found


def _rounding(space: ParameterSpace) -> np.ndarray:
    """Covariance (k, k) of what no recording tells: the simulator delays by whole integration steps."""
    found = np.zeros((len(space), len(space)))
    if "actuator_delay" in space.names:
        index = space.names.index("actuator_delay")
        _, low, high, _, _ = ROBOT_SIM_PARAMS["actuator_delay"]
        found[index, index] = (PhysicsParameters().time_step / (high - low)) ** 2 / 12.0
    return found


def _from_free_motion(
    replay: CommandReplay, episodes: Sequence[Episode], space: ParameterSpace, prior_spread: float, iterations: int
) -> np.ndarray:
    """A point to begin at: the arm as it moves before it meets anything, all else nominal.

    Contacts turn small errors of the arm into large differences; with the arm about right they begin to tell something.
    """
    point = space.nominal
    moving = [name for name in space.names if name in ARM_PARAMETERS and not name.startswith("goal_")]
    if moving:
        arm = ParameterSpace(moving)
        problem = FitProblem(replay, episodes, (), arm, _FREE_CYCLES)
        precision = np.eye(len(arm)) / prior_spread**2
        found, _, _ = _search(problem, arm.nominal, arm.nominal, precision, iterations, lambda index, gap: None)
        point[[space.names.index(name) for name in moving]] = found
    return point


def _search(
    problem: FitProblem,
    point: np.ndarray,
    nominal: np.ndarray,
    precision: np.ndarray,
    iterations: int,
    on_iteration: Callable[[int, float], None],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The likeliest point near `point`, its residuals and their slopes."""
    here = problem.residuals(point)
    slopes = problem.slopes(point, here)
    for index in range(iterations):
        moved, there, gained = _step(problem, point, here, slopes, nominal, precision)
        if gained <= 0.0:
            break
        point, here = moved, there
        on_iteration(index + 1, _gap(here))
        if gained < _WORTH_A_STEP:
            break
        slopes = problem.slopes(point, here)
    return point, here, slopes


def _step(
    problem: FitProblem,
    point: np.ndarray,
    here: np.ndarray,
    slopes: np.ndarray,
    nominal: np.ndarray,
    precision: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, float]:
    """The next point, its residuals, and by how much it is likelier: not above zero where nothing nearby is."""
    weights = problem.information(here)

    def cost(at: np.ndarray, residuals: np.ndarray) -> float:
        data = float(np.sum(_scale(weights, here) * huber_loss(residuals)))
        return data + 0.5 * float((at - nominal) @ precision @ (at - nominal))

    old = cost(point, here)
    hessian = slopes.T @ (weights[:, np.newaxis] * slopes) + precision
    gradient = slopes.T @ (weights * here) + precision @ (point - nominal)
    for damping in (0.0, 1.0, 10.0):
        way = -np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), gradient)
        moved = np.clip(point + way, 0.0, 1.0)
        residuals = problem.residuals(moved)
        gained = old - cost(moved, residuals)
        if gained > 0.0:
            break
    return moved, residuals, gained


def _scale(weights: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Weights without the share that outliers lose, which `huber_loss` counts itself."""
    return weights / huber_weight(residuals)


def _gap(residuals: np.ndarray) -> float:
    return float(np.sqrt(np.mean(residuals**2)))
