"""What a paired comparison says, in one word and with its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from physai_ros.evaluation.sequential import paired_e_value
from physai_ros.evaluation.statistics import Interval, PairedCounts, mcnemar_exact, paired_gain_interval

VERDICTS = ("better", "worse", "not_worse", "no_difference", "not_enough_trials")


@dataclass(frozen=True)
class Comparison:
    """A paired comparison: verdict, gain with its interval, p-value (two-sided) and e-value (for the candidate)."""

    verdict: str
    counts: PairedCounts
    gain: float
    gain_lower: float
    gain_upper: float
    p_value: float
    e_value: float
    margin: float

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
    return Comparison(
        verdict=_verdict(counts, p_value, interval, margin, alpha, not_worse_confidence, resolution),
        counts=counts,
        gain=counts.gain,
        gain_lower=interval.lower,
        gain_upper=interval.upper,
        p_value=p_value,
        e_value=paired_e_value([float(a) - float(b) for a, b in zip(candidate, current, strict=True)]),
        margin=margin,
    )


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
