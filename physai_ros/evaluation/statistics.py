"""Intervals and tests for success rates: how much a handful of trials can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy import special, stats
from scipy.optimize import brentq

Alternative = Literal["two-sided", "greater", "less"]


class Interval(NamedTuple):
    """A two-sided confidence interval."""

    lower: float
    upper: float


@dataclass(frozen=True)
class PairedCounts:
    """Outcomes of the same scenarios and seeds under a candidate and a current policy."""

    both: int
    candidate_only: int
    current_only: int
    neither: int

    def __post_init__(self) -> None:
        if min(self.both, self.candidate_only, self.current_only, self.neither) < 0:
            raise ValueError(f"{self}: counts must not be negative")

    @classmethod
    def of(cls, candidate: Sequence[bool], current: Sequence[bool]) -> PairedCounts:
        """Counts of two equally long sequences of successes; entry i of both is the same scenario.

        Raises:
            ValueError: the lengths differ.
        """
        a, b = np.asarray(candidate, dtype=bool), np.asarray(current, dtype=bool)
        if a.shape != b.shape or a.ndim != 1:
            raise ValueError(f"paired outcomes have shapes {a.shape} and {b.shape}; expected one trial each a scenario")
        return cls(int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum()), int((~a & ~b).sum()))

    @property
    def trials(self) -> int:
        """Number of pairs."""
        return self.both + self.candidate_only + self.current_only + self.neither

    @property
    def gain(self) -> float:
        """Success rate of the candidate minus that of the current policy; NaN without trials."""
        return (self.candidate_only - self.current_only) / self.trials if self.trials else float("nan")


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Exact interval of a success rate; covers at least at `confidence`.

    Source: Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 26, 1934.
    """
    _check(successes, trials, confidence)
    if trials == 0:
        return Interval(0.0, 1.0)
    tail = (1.0 - confidence) / 2.0
    lower = float(stats.beta.ppf(tail, successes, trials - successes + 1)) if successes else 0.0
    upper = float(stats.beta.ppf(1.0 - tail, successes + 1, trials - successes)) if successes < trials else 1.0
    return Interval(lower, upper)


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Score interval of a success rate; covers at `confidence` on average, narrower than Clopper and Pearson's.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
    """
    _check(successes, trials, confidence)
    if trials == 0:
        return Interval(0.0, 1.0)
    z2 = float(stats.norm.ppf((1.0 + confidence) / 2.0)) ** 2
    centre = (successes + z2 / 2.0) / (trials + z2)
    half = np.sqrt(z2 * (successes * (trials - successes) / trials + z2 / 4.0)) / (trials + z2)
    lower = 0.0 if successes == 0 else max(0.0, centre - half)
    upper = 1.0 if successes == trials else min(1.0, centre + half)
    return Interval(float(lower), float(upper))


def mcnemar_exact(counts: PairedCounts, alternative: Alternative = "two-sided") -> float:
    """P-value of the exact paired test; `greater` asks whether the candidate is better. 1 when no pair differs.

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12,
    1947, in its exact (binomial) form.
    """
    differing = counts.candidate_only + counts.current_only
    if differing == 0:
        return 1.0
    return float(stats.binomtest(counts.candidate_only, differing, 0.5, alternative=alternative).pvalue)


def unpaired_exact(
    candidate: tuple[int, int], current: tuple[int, int], alternative: Alternative = "two-sided", method: str = "fisher"
) -> float:
    """P-value of an exact test of two independent (successes, trials).

    `fisher` is conditional and conservative. `boschloo` is unconditional and never less powerful than it (Boschloo,
    "Raised conditional level of significance for the 2x2-table", Statistica Neerlandica 24, 1970); `barnard` is
    unconditional, too ("Significance tests for 2x2 tables", Biometrika 34, 1947). Both are slow.

    Raises:
        ValueError: `method` is neither, or counts make no sense.
    """
    for successes, trials in (candidate, current):
        _check(successes, trials, 0.95)
    if 0 in (candidate[1], current[1]):
        return 1.0
    table = [[candidate[0], current[0]], [candidate[1] - candidate[0], current[1] - current[0]]]
    if method == "fisher":
        return float(stats.fisher_exact(table, alternative=alternative).pvalue)
    if method in ("barnard", "boschloo"):
        pooled = candidate[0] + current[0]
        if pooled in (0, candidate[1] + current[1]):
            return 1.0
        test = stats.barnard_exact if method == "barnard" else stats.boschloo_exact
        return float(test(table, alternative=alternative).pvalue)
    raise ValueError(f"unknown test '{method}'; known are: fisher, boschloo, barnard")


def paired_gain_interval(counts: PairedCounts, confidence: float = 0.95) -> Interval:
    """Score interval of `counts.gain`, the difference of two success rates on the same scenarios.

    Source: Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17, 1998.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}; expected a number between 0 and 1")
    if counts.trials == 0:
        return Interval(-1.0, 1.0)
    z = float(stats.norm.ppf((1.0 + confidence) / 2.0))
    edge = 1.0 - 1e-12
    low = -1.0 if _tango_score(counts, -edge) < z else brentq(lambda d: _tango_score(counts, d) - z, -edge, counts.gain)
    high = 1.0 if _tango_score(counts, edge) > -z else brentq(lambda d: _tango_score(counts, d) + z, counts.gain, edge)
    return Interval(float(low), float(high))


def exact_paired_gain(counts: PairedCounts, confidence: float = 0.95, nodes: int = 500) -> Interval:
    """Interval of `counts.gain` that agrees with the exact paired test: it excludes 0 only where that rejects.

    The share of pairs that differ and the share of those that the candidate wins are melded: exact confidence
    distributions (Clopper and Pearson's) of both, multiplied, `nodes` quadrature points. Source: Fay and Lumbard,
    "Confidence intervals for difference in proportions for matched pairs compatible with exact McNemar's or sign
    tests", Statistics in Medicine 40, 2021.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}; expected a number between 0 and 1")
    if counts.trials == 0:
        return Interval(-1.0, 1.0)
    mirrored = PairedCounts(counts.both, counts.current_only, counts.candidate_only, counts.neither)
    tail = (1.0 - confidence) / 2.0
    lower, upper = _melded_lower(counts, tail, nodes), -_melded_lower(mirrored, tail, nodes)
    return Interval(min(lower, counts.gain), max(upper, counts.gain))


def _melded_lower(counts: PairedCounts, tail: float, nodes: int) -> float:
    n, won = counts.trials, counts.candidate_only
    differing = won + counts.current_only
    probabilities = (np.arange(nodes) + 0.5) / nodes
    # Lower confidence distribution of the share won, among pairs that differ; a share that is not known at all is 0.
    shares = special.betaincinv(won, differing - won + 1, probabilities) if won else np.zeros(nodes)
    tilt = 2.0 * shares - 1.0

    def below(gain: float) -> float:
        """Probability that the melded gain is at most `gain`; what pulls it down is taken at its worst."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(tilt == 0.0, np.inf if gain >= 0 else -np.inf, gain / tilt)
        share = np.clip(ratio, 0.0, 1.0)
        few = special.betainc(differing, n - differing + 1, share) if differing else np.ones(nodes)
        few = np.where(ratio >= 0.0, few, 0.0)
        many = special.betaincc(differing + 1, n - differing, share) if differing < n else np.ones(nodes)
        many = np.where(ratio <= 1.0, many, 0.0)
        return float(np.where(tilt >= 0.0, few, many).mean())

    if below(-1.0 + 1e-9) > tail:
        return -1.0
    return float(brentq(lambda gain: below(gain) - tail, -1.0 + 1e-9, 1.0, xtol=1e-7))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (n,): what is at most alpha may be believed of all n together, however they depend.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
    """
    values = np.asarray(p_values, dtype=float)
    if values.size and not ((values >= 0.0) & (values <= 1.0)).all():
        raise ValueError(f"p-values are {values.tolist()}; expected numbers from 0 to 1")
    order = np.argsort(values, kind="stable")
    scaled = np.minimum(1.0, values[order] * np.arange(values.size, 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(scaled)
    return [float(value) for value in adjusted]


def _tango_score(counts: PairedCounts, difference: float) -> float:
    """Standardized distance of the observed gain from `difference`; falls as `difference` rises."""
    n, b, c = counts.trials, counts.candidate_only, counts.current_only
    linear = -b - c + (2 * n - b + c) * difference
    constant = -c * difference * (1.0 - difference)
    root = np.sqrt(max(linear**2 - 8.0 * n * constant, 0.0))
    # The two forms are equal; each avoids the cancellation of the other.
    p_current_only = (root - linear) / (4.0 * n) if linear <= 0 else -2.0 * constant / (root + linear)
    variance = n * (2.0 * p_current_only + difference * (1.0 - difference))
    distance = b - c - n * difference
    if variance <= 0.0:
        return 0.0 if distance == 0 else float(np.copysign(np.inf, distance))
    return float(distance / np.sqrt(variance))


def bootstrap_gain(
    gains: Sequence[float],
    groups: Sequence[int] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 10_000,
) -> Interval:
    """Percentile interval of the mean of paired differences `gains` (n,), resampled by scenario.

    With `groups` (n,), such as the training seed that a pair belongs to, whole groups are drawn first and scenarios
    within them, so that luck of a training run counts as what it is. Source: Efron and Tibshirani, "An introduction to
    the bootstrap", 1993, chapters 13 and 8.
    """
    values = np.asarray(gains, dtype=float)
    if values.size == 0:
        return Interval(-1.0, 1.0)
    generator = np.random.default_rng(seed)
    labels = np.zeros(values.size, dtype=int) if groups is None else np.unique(groups, return_inverse=True)[1]
    members = [values[labels == label] for label in range(labels.max() + 1)]
    means = np.empty(resamples)
    for i in range(resamples):
        drawn = (
            members if len(members) == 1 else [members[j] for j in generator.integers(len(members), size=len(members))]
        )
        picked = [group[generator.integers(group.size, size=group.size)] for group in drawn]
        means[i] = np.concatenate(picked).mean()
    tail = (1.0 - confidence) / 2.0
    return Interval(*(float(x) for x in np.quantile(means, [tail, 1.0 - tail])))


def _check(successes: int, trials: int, confidence: float) -> None:
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials; expected 0 <= successes <= trials")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}; expected a number between 0 and 1")
