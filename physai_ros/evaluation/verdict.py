"""What a paired comparison says, in one word and with its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

from physai_ros.evaluation.sequential import betting_interval, paired_e_value
from physai_ros.evaluation.statistics import (
    Interval,
    PairedCounts,
    exact_paired_gain,
    mcnemar_exact,
    paired_gain_interval,
)

VERDICTS = ("better", "worse", "not_worse", "no_difference", "not_enough_trials")


@dataclass(frozen=True)
class Comparison:
    """A paired comparison: verdict, gain with its intervals, p-value (two-sided) and e-value (for the candidate).

    `gain_lower` ... `gain_upper` is Tango's score interval, `exact_lower` ... `exact_upper` the wider one that agrees
    with the exact test.
    """

    verdict: str
    counts: PairedCounts
    gain: float
    gain_lower: float
    gain_upper: float
    p_value: float
    e_value: float
    margin: float
    exact_lower: float = -1.0
    exact_upper: float = 1.0

    def figures(self) -> dict[str, float]:
        """The numbers, flat, as in a `--json` file."""
        numbers = asdict(self)
        counts = numbers.pop("counts")
        numbers.pop("verdict")
        return {**numbers, "pairs": float(self.counts.trials), **{f"pairs_{k}": float(v) for k, v in counts.items()}}


def compare(
    candidate: Sequence[bool],
    current: Sequence[bool],
    *,
    margin: float = 0.0,
    alpha: float = 0.05,
    not_worse_confidence: float = 0.9,
    resolution: float = 0.1,
) -> Comparison:
    """Comparison of paired successes; entry i of both is the same scenario and seed.

    - `better`, `worse`: the exact paired test rejects "no difference" at `alpha`, two-sided.
    - `not_worse` (only with `margin` > 0): the one-sided lower bound of the gain at `not_worse_confidence` lies above
      `-margin`, and nothing says that the candidate is worse.
    - `no_difference`: the two-sided interval at 1 - alpha lies within plus or minus `resolution`.
    - `not_enough_trials`: anything else.
    """
    counts = PairedCounts.of(candidate, current)
    p_value = mcnemar_exact(counts)
    interval = paired_gain_interval(counts, 1.0 - alpha)
    exact = exact_paired_gain(counts, 1.0 - alpha)
    return Comparison(
        verdict=_verdict(counts, p_value, interval, margin, alpha, not_worse_confidence, resolution),
        counts=counts,
        gain=counts.gain,
        gain_lower=interval.lower,
        gain_upper=interval.upper,
        p_value=p_value,
        e_value=paired_e_value([float(a) - float(b) for a, b in zip(candidate, current, strict=True)]),
        margin=margin,
        exact_lower=exact.lower,
        exact_upper=exact.upper,
    )


@dataclass(frozen=True)
class ScoreComparison:
    """A paired comparison of partial credit: mean gain with an interval that covers whenever one stops, and evidence.

    `p_value` (two-sided) is that of swapping the two policies within pairs at random; `e_value` is for the candidate.
    """

    pairs: int
    gain: float
    gain_lower: float
    gain_upper: float
    p_value: float
    e_value: float

    def figures(self) -> dict[str, float]:
        """The numbers, flat, as in a `--json` file."""
        return {f"score_{name}": float(value) for name, value in asdict(self).items()}


def compare_scores(
    candidate: Sequence[float], current: Sequence[float], *, alpha: float = 0.05, seed: int = 0
) -> ScoreComparison:
    """Comparison of scores in 0 ... 1, such as how much of a task was done; entry i of both is the same scenario.

    Source of the test: Fisher, "The design of experiments", 1935, chapter 3, in scipy's form: every way of swapping
    where there are few, else 10,000 of them.

    Raises:
        ValueError: the lengths differ, or a score is outside 0 ... 1.
    """
    a, b = np.asarray(candidate, dtype=float), np.asarray(current, dtype=float)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"paired scores have shapes {a.shape} and {b.shape}; expected one trial each a scenario")
    if a.size and not (min(a.min(), b.min()) >= 0.0 and max(a.max(), b.max()) <= 1.0):
        raise ValueError("scores must be numbers from 0 to 1")
    differences = a - b
    if np.isin(differences, (-1.0, 0.0, 1.0)).all():
        # All or nothing: swapping within pairs is the exact paired test.
        p_value = mcnemar_exact(PairedCounts(0, int((differences > 0).sum()), int((differences < 0).sum()), 0))
    else:
        # Pairs without a difference are the same either way.
        test = stats.permutation_test(
            (differences[differences != 0],),
            np.mean,
            permutation_type="samples",
            n_resamples=9_999,
            random_state=np.random.default_rng(seed),
        )
        p_value = float(test.pvalue)
    interval = betting_interval(differences, 1.0 - alpha)
    mean = float(differences.mean()) if differences.size else float("nan")
    return ScoreComparison(a.size, mean, interval.lower, interval.upper, p_value, paired_e_value(differences))


def _verdict(
    counts: PairedCounts,
    p_value: float,
    interval: Interval,
    margin: float,
    alpha: float,
    not_worse_confidence: float,
    resolution: float,
) -> str:
    if margin < 0.0 or not 0.5 <= not_worse_confidence < 1.0:
        raise ValueError(
            f"margin {margin}, confidence {not_worse_confidence}; expected margin >= 0, 0.5 <= confidence < 1"
        )
    if counts.trials == 0:
        return "not_enough_trials"
    if p_value <= alpha:
        return "better" if counts.gain > 0 else "worse"
    # A one-sided bound at confidence c is the lower end of the two-sided interval at 2 c - 1.
    two_sided = max(2.0 * not_worse_confidence - 1.0, 1e-9)
    if margin > 0.0 and paired_gain_interval(counts, two_sided).lower > -margin:
        return "not_worse"
    if -resolution <= interval.lower and interval.upper <= resolution:
        return "no_difference"
    return "not_enough_trials"
