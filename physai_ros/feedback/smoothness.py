"""Smoothness of a movement, independent of the rate at which it was sampled.

Both measures are of Balasubramanian, Melendez-Calderon, Roby-Brami, Burdet, "On the analysis of movement smoothness",
Journal of NeuroEngineering and Rehabilitation 12:112, 2015. They are taken from velocities that a local cubic fit over
a fixed span of time gives on a fixed grid, so that neither the sampling rate nor the noise of differencing enters.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

HALF_WINDOW = 0.06  # [s] of the local fit
GRID_RATE = 100.0  # [Hz] on which the measures are taken
STILL = 1e-3  # [m/s] below which nothing moved
CUTOFF = 10.0  # [Hz] above which no voluntary movement lies (the paper's value)
AMPLITUDE_THRESHOLD = 0.05  # of the normalized spectrum (the paper's value)
_LEAST_SAMPLES = 5  # in a window, for a cubic to be a fit


class SmoothVelocity(NamedTuple):
    """Velocity (n, k) and its second derivative (n, k), the jerk, at `times` (n,) [s] on the fixed grid."""

    times: np.ndarray
    velocity: np.ndarray
    jerk: np.ndarray


def smooth_velocity(stamps: np.ndarray, velocities: np.ndarray) -> SmoothVelocity | None:
    """Velocities (n, k) at `stamps` (n,) [s] fitted locally by cubics; None if the record is too short for that."""
    times, first = np.unique(stamps - stamps[0] if len(stamps) else stamps, return_index=True)
    if len(times) < 2 * _LEAST_SAMPLES:
        return None
    values = velocities[first]
    half = max(HALF_WINDOW, 0.5 * _LEAST_SAMPLES * float(np.median(np.diff(times))) * 1.01)
    count = int(np.floor((times[-1] - 2 * half) * GRID_RATE + 1e-9)) + 1
    if count < 4:
        return None
    grid = half + np.arange(count) / GRID_RATE
    low = np.searchsorted(times, grid - half - 1e-9)
    high = np.searchsorted(times, grid + half + 1e-9)
    enough = high - low >= _LEAST_SAMPLES  # a gap in the record leaves a gap in the fit
    grid, low, high = grid[enough], low[enough], high[enough]
    if len(grid) < 4:
        return None
    columns = low[:, None] + np.arange(int((high - low).max()))
    inside = columns < high[:, None]
    columns = np.minimum(columns, len(times) - 1)
    offset = (times[columns] - grid[:, None]) / half
    weight = np.where(inside, (1.0 - np.minimum(np.abs(offset), 1.0) ** 3) ** 3 + 1e-6, 0.0)
    powers = offset[..., None] ** np.arange(4)
    weighted = powers * weight[..., None]
    normal = np.einsum("gmi,gmj->gij", weighted, powers)
    right = np.einsum("gmi,gmk->gik", weighted, values[columns])
    coefficients = np.linalg.solve(normal, right)
    return SmoothVelocity(grid, coefficients[:, 0], 2.0 * coefficients[:, 2] / half**2)


def log_dimensionless_jerk(stamps: np.ndarray, velocities: np.ndarray) -> float:
    """Log dimensionless jerk of a movement, negative, nearer zero is smoother; NaN where nothing moved."""
    from scipy.integrate import trapezoid  # a second of import that the recorder's node starts without

    smooth = smooth_velocity(stamps, velocities)
    if smooth is None:
        return float("nan")
    peak = float(np.linalg.norm(smooth.velocity, axis=1).max())
    if peak < STILL:
        return float("nan")
    duration = float(smooth.times[-1] - smooth.times[0])
    squared = np.square(smooth.jerk).sum(axis=1)
    integral = float(trapezoid(squared, smooth.times))
    return float(-np.log(max(duration**3 / peak**2 * integral, 1e-12)))


def spectral_arc_length(stamps: np.ndarray, velocities: np.ndarray) -> float:
    """Spectral arc length of the speed, negative, nearer zero is smoother; NaN where nothing moved."""
    smooth = smooth_velocity(stamps, velocities)
    if smooth is None:
        return float("nan")
    speed = np.linalg.norm(smooth.velocity, axis=1)
    if float(speed.max()) < STILL:
        return float("nan")
    # A gap in the record must not shorten the movement.
    speed = np.interp(np.arange(smooth.times[0], smooth.times[-1], 1.0 / GRID_RATE), smooth.times, speed)
    padded = 2 ** (int(np.ceil(np.log2(len(speed)))) + 4)
    spectrum = np.abs(np.fft.rfft(speed, padded))
    frequency = np.fft.rfftfreq(padded, 1.0 / GRID_RATE)
    spectrum = spectrum[frequency <= CUTOFF] / spectrum.max()
    frequency = frequency[frequency <= CUTOFF]
    last = int(np.flatnonzero(spectrum >= AMPLITUDE_THRESHOLD)[-1])
    if last == 0:
        return float("nan")
    steps = np.diff(frequency[: last + 1]) / (frequency[last] - frequency[0])
    return float(-np.hypot(steps, np.diff(spectrum[: last + 1])).sum())
