"""Figures of one episode: contact, smoothness, tracking, energy, interventions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.feedback.smoothness import log_dimensionless_jerk, spectral_arc_length
from physai_ros.robot.command import CommandSource


class ContactProfile(NamedTuple):
    """Tool force over time: `peak`, `mean` [N], `variance` [N^2], `impulse` [N s], `time_over_budget` [s]."""

    peak: float
    mean: float
    variance: float
    impulse: float
    time_over_budget: float


def contact_profile(stamps: np.ndarray, forces: np.ndarray, budget: float) -> ContactProfile:
    """Profile of the magnitudes of `forces` (n, 3) [N] at `stamps` (n,) [s], taken as straight between samples.

    Impulse and time over budget add over segments that share their border; mean and variance are over time, so that
    uneven sampling does not weigh. Samples that are not finite are left out.
    """
    magnitude = np.linalg.norm(forces, axis=1)
    known = np.isfinite(magnitude)
    magnitude, times = magnitude[known], stamps[known]
    if not len(magnitude):
        return ContactProfile(*[float("nan")] * 3, 0.0, 0.0)
    peak = float(magnitude.max())
    steps = np.diff(times)
    duration = float(steps.sum())
    if duration <= 0.0:
        return ContactProfile(peak, float(magnitude.mean()), float(magnitude.var()), 0.0, 0.0)
    first, second = magnitude[:-1], magnitude[1:]
    impulse = float((0.5 * (first + second) * steps).sum())
    mean = impulse / duration
    squares = float(((first**2 + first * second + second**2) / 3.0 * steps).sum())
    low, high = np.minimum(first, second), np.maximum(first, second)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(low >= budget, 1.0, np.where(high <= budget, 0.0, (high - budget) / (high - low)))
    return ContactProfile(peak, mean, max(squares / duration - mean**2, 0.0), impulse, float((share * steps).sum()))


@dataclass(frozen=True)
class EpisodeMetrics:
    """Figures of one episode; NaN where the signal behind one is missing.

    Attributes:
        peak_force, mean_force: tool force [N]; force_variance [N^2]; impulse [N s].
        time_over_budget: with more force than the task allows [s].
        smoothness: log dimensionless jerk of the tool; spectral_arc_length of its speed; nearer zero is smoother.
        tracking_error: root mean square of set-point minus joint position [rad]; worst_tracking_error: largest [rad].
        path_length: of the tool [m].
        energy: mechanical work of the joints, both ways [J].
        interventions, intervention_seconds: times that an operator took over, and for how long [s].
        safety_stops: times that the verified stop was played.
        altered_share: of the samples whose proposal the safety monitor changed.
    """

    duration: float
    peak_force: float
    mean_force: float
    force_variance: float
    impulse: float
    time_over_budget: float
    smoothness: float
    spectral_arc_length: float
    tracking_error: float
    worst_tracking_error: float
    path_length: float
    energy: float
    interventions: int
    intervention_seconds: float
    safety_stops: int
    altered_share: float

    @classmethod
    def of(cls, episode: Episode, force_budget: float) -> EpisodeMetrics:
        """Figures of an episode of a task that allows `force_budget` [N]."""
        from scipy.integrate import trapezoid  # a second of import that the recorder's node starts without

        series = episode.series
        stamps = series["stamp"]
        contact = contact_profile(stamps, series["wrench"].reshape(-1, 6)[:, :3], force_budget)
        velocity = series["ee_velocity"].reshape(-1, 6)[:, :3]
        error = np.abs(series["commanded_positions"] - series["joint_positions"])
        power = np.abs(series["joint_torques"] * series["joint_velocities"]).sum(axis=1)
        source = series["command_source"]
        steps = np.diff(stamps, append=stamps[-1:])
        return cls(
            duration=episode.duration,
            peak_force=contact.peak,
            mean_force=contact.mean,
            force_variance=contact.variance,
            impulse=contact.impulse,
            time_over_budget=contact.time_over_budget,
            smoothness=log_dimensionless_jerk(stamps, velocity),
            spectral_arc_length=spectral_arc_length(stamps, velocity),
            tracking_error=float(np.sqrt(np.mean(error**2))) if error.size else float("nan"),
            worst_tracking_error=float(error.max()) if error.size else float("nan"),
            path_length=float(np.linalg.norm(np.diff(series["ee_position"], axis=0), axis=1).sum()),
            energy=float(trapezoid(power, stamps)),
            interventions=count_runs(source == CommandSource.OPERATOR),
            intervention_seconds=float(steps[source == CommandSource.OPERATOR].sum()),
            safety_stops=count_runs(source == CommandSource.STOP),
            altered_share=float(series["command_altered"].mean()) if len(stamps) else 0.0,
        )

    def to_dict(self) -> dict[str, float]:
        """Name to number."""
        return {name: float(value) for name, value in asdict(self).items()}


def count_runs(flags: np.ndarray) -> int:
    """How often a row of flags (n,) turns true."""
    return int(np.count_nonzero(flags & ~np.concatenate([[False], flags[:-1]]))) if len(flags) else 0
