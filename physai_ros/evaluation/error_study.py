"""What the statistics promise, tried out on simulated evaluations whose truth is known; thousands of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import stats

from physai_ros.evaluation.power import run_spending
from physai_ros.evaluation.sequential import betting_interval
from physai_ros.evaluation.spending import SpendingWalks
from physai_ros.evaluation.statistics import (
    Interval,
    PairedCounts,
    clopper_pearson,
    exact_paired_gain,
    holm,
    paired_gain_interval,
    wilson,
)

Row = dict[str, Any]
LEVEL = 0.05
_SIGNS = np.array([1, -1, 0])


def draw_pairs(generator: np.random.Generator, won: float, lost: float, runs: int, pairs: int) -> np.ndarray:
    """Differences (runs, pairs) of paired successes: 1 where the candidate alone wins, -1 where it alone loses."""
    return _SIGNS[np.searchsorted([won, won + lost], generator.random((runs, pairs)), side="right")]


def betting_stops(differences: np.ndarray, margin: float = 0.0, alpha: float = LEVEL, stakes: int = 100) -> np.ndarray:
    """After how many pairs (runs,) the betting martingale reaches 1 / alpha; 0 where it never does.

    As `BettingMartingale` on each row of `differences` (runs, pairs) in -1, 0, 1; the order within a row does not
    matter to the wealth, so that each count of wins and losses is computed once.
    """
    runs, pairs = differences.shape
    bets = np.arange(stakes) / stakes / (1.0 - margin)
    up, down, tie = (np.log1p(bets * (value + margin)) for value in (1.0, -1.0, 0.0))
    wins, losses = (np.cumsum(differences == sign, axis=1) for sign in (1, -1))
    stops = np.zeros(runs, dtype=int)
    for pair in range(pairs):
        waiting = np.flatnonzero(stops == 0)
        if not waiting.size:
            break
        codes, where = np.unique(wins[waiting, pair] * (pairs + 1) + losses[waiting, pair], return_inverse=True)
        won, lost = codes // (pairs + 1), codes % (pairs + 1)
        wealth = np.exp(won[:, None] * up + lost[:, None] * down + (pair + 1 - won - lost)[:, None] * tie).mean(axis=1)
        stops[waiting[(wealth >= 1.0 / alpha)[where]]] = pair + 1
    return stops


def coverage(runs: int, seed: int = 0) -> Iterator[Row]:
    """How often each 95 % interval holds the truth, and how wide it is."""
    generator = np.random.default_rng([seed, 1])
    for trials, rate in ((20, 0.5), (20, 0.9), (100, 0.7), (100, 0.95)):
        successes = generator.binomial(trials, rate, runs)
        for name, make in (("Clopper-Pearson", clopper_pearson), ("Wilson", wilson)):
            table = [make(k, trials) for k in range(trials + 1)]
            yield _covered(name, f"rate {rate:g}", trials, rate, [table[k] for k in successes])
    for pairs, won, lost in ((20, 0.2, 0.2), (20, 0.3, 0.1), (50, 0.25, 0.1), (100, 0.1, 0.05)):
        draws = generator.multinomial(pairs, [won, lost, 1.0 - won - lost], runs)
        for name, make in (("paired, Tango", _tango), ("paired, exact", _exact), ("paired, betting", _betting)):
            known: dict[tuple[int, int], Interval] = {}
            intervals = []
            for wins, losses, _ in draws.tolist():
                if (wins, losses) not in known:
                    known[wins, losses] = make(wins, losses, pairs)
                intervals.append(known[wins, losses])
            yield _covered(name, f"wins {won:g}, losses {lost:g}", pairs, won - lost, intervals)


def false_promotions(runs: int, pairs: int = 100, margin: float = 0.1, seed: int = 0) -> Iterator[Row]:
    """How often a candidate that has not earned it is called better (or not worse) by one who looks after every pair.

    The first rows look with the test of fixed size at every pair: what peeking costs.
    """
    generator = np.random.default_rng([seed, 2])
    for discordance in (0.1, 0.4, 1.0):
        differences = draw_pairs(generator, discordance / 2, discordance / 2, runs, pairs)
        case = f"equal, {discordance:.0%} of pairs differ"
        yield _error("exact test at every look", case, pairs, _ever_significant(differences))
        yield _error("exact test once, at the end", case, pairs, _significant(differences))
        decided, _ = run_spending(differences, LEVEL)
        yield _error("spending test", case, pairs, decided == 1)
        yield _error("betting", case, pairs, betting_stops(differences) > 0)
    for discordance in (margin, 0.3, 0.6):
        won = (discordance - margin) / 2
        differences = draw_pairs(generator, won, won + margin, runs, pairs)
        case = f"worse by {margin:.0%}, {discordance:.0%} of pairs differ"
        decided, _ = run_spending(differences, LEVEL)
        not_worse = betting_stops(differences, margin) > 0
        yield _error("not worse, betting", case, pairs, not_worse)
        yield _error("better or not worse", case, pairs, not_worse | (decided == 1))


def power(runs: int, pairs: int = 100, seed: int = 0) -> Iterator[Row]:
    """How often a gain is seen, and after how many pairs, beside a test of fixed size at the same level."""
    generator = np.random.default_rng([seed, 3])
    for won, lost in ((0.3, 0.2), (0.2, 0.1), (0.3, 0.1), (0.25, 0.05), (0.4, 0.1), (0.5, 0.05)):
        differences = draw_pairs(generator, won, lost, runs, pairs)
        case = f"gain {won - lost:+.0%}, {won + lost:.0%} of pairs differ"
        fixed = _significant(differences)
        decided, stopped = run_spending(differences, LEVEL)
        bets = betting_stops(differences)
        yield _power("exact test once, at the end", case, pairs, fixed, np.full(runs, pairs))
        yield _power("spending test", case, pairs, decided == 1, stopped)
        yield _power("betting", case, pairs, bets > 0, np.where(bets, bets, pairs))


def many_candidates(runs: int, candidates: int = 5, pairs: int = 60, seed: int = 0) -> Iterator[Row]:
    """How often at least one of several equal candidates is called better, with and without Holm's correction."""
    generator = np.random.default_rng([seed, 4])
    differences = draw_pairs(generator, 0.2, 0.2, runs * candidates, pairs)
    p_values = _p_values(differences).reshape(runs, candidates)
    case = f"{candidates} equal candidates"
    yield _error("each by itself", case, pairs, (p_values <= LEVEL).any(axis=1))
    yield _error("Holm", case, pairs, np.array([min(holm(row)) <= LEVEL for row in p_values]))


def study(runs: int = 10_000, seed: int = 0) -> list[Row]:
    """Every row of the study."""
    return [*coverage(runs, seed), *false_promotions(runs, seed=seed), *power(runs, seed=seed), *many_candidates(runs)]


def figures(rows: list[Row]) -> dict[str, float]:
    """The worst of each promise, and what looking early saves, as flat numbers."""

    def of(kind: str, method: str, name: str) -> list[float]:
        return [row[name] for row in rows if row["kind"] == kind and row["method"] == method]

    found = {f"coverage_{_word(name)}": min(of("coverage", name, "rate")) for name in _INTERVALS}
    found |= {f"false_promotions_{_word(name)}": max(of("error", name, "rate")) for name in _TESTS}
    found["false_promotions_spending_test_exact"] = exact_spending_error()
    for name in ("spending test", "betting"):
        sizes, fixed = of("power", name, "pairs_used"), of("power", "exact test once, at the end", "pairs_used")
        found[f"trials_saved_{_word(name)}"] = float(np.mean([1.0 - a / b for a, b in zip(sizes, fixed, strict=True)]))
        lost = of("power", "exact test once, at the end", "rate"), of("power", name, "rate")
        found[f"power_lost_{_word(name)}"] = float(np.mean([a - b for a, b in zip(*lost, strict=True)]))
    return found


def exact_spending_error(pairs: int = 100) -> float:
    """Probability that the spending test calls an equal candidate better where every pair differs: its worst case."""
    walks, signs = SpendingWalks(1, pairs, LEVEL), np.array([1])
    for _ in range(pairs):
        signs = -signs  # a run that wins and loses in turn reaches no verdict
        walks.update(signs)
    return float(walks.spent[0])


_INTERVALS = ("Clopper-Pearson", "Wilson", "paired, Tango", "paired, exact", "paired, betting")
_TESTS = (
    "exact test at every look",
    "spending test",
    "betting",
    "not worse, betting",
    "better or not worse",
    "each by itself",
    "Holm",
)


def _word(name: str) -> str:
    return name.lower().replace(", ", "_").replace("-", "_").replace(" ", "_")


def _covered(method: str, case: str, size: int, truth: float, intervals: list[Interval]) -> Row:
    bounds = np.array(intervals)
    inside = (bounds[:, 0] <= truth + 1e-12) & (truth - 1e-12 <= bounds[:, 1])
    row = _row("coverage", method, case, size, inside)
    return row | {"width": float((bounds[:, 1] - bounds[:, 0]).mean())}


def _error(method: str, case: str, size: int, wrong: np.ndarray) -> Row:
    return _row("error", method, case, size, wrong)


def _power(method: str, case: str, size: int, seen: np.ndarray, pairs: np.ndarray) -> Row:
    return _row("power", method, case, size, seen) | {"pairs_used": float(pairs.mean())}


def _row(kind: str, method: str, case: str, size: int, hits: np.ndarray) -> Row:
    lower, upper = clopper_pearson(int(hits.sum()), hits.size)
    row = {"kind": kind, "method": method, "case": case, "trials": size, "runs": hits.size}
    return row | {"rate": float(hits.mean()), "rate_lower": lower, "rate_upper": upper}


def _tango(wins: int, losses: int, pairs: int) -> Interval:
    return paired_gain_interval(PairedCounts(0, wins, losses, pairs - wins - losses))


def _exact(wins: int, losses: int, pairs: int) -> Interval:
    return exact_paired_gain(PairedCounts(0, wins, losses, pairs - wins - losses), nodes=400)


def _betting(wins: int, losses: int, pairs: int) -> Interval:
    return betting_interval([1.0] * wins + [-1.0] * losses + [0.0] * (pairs - wins - losses), means=401, stakes=30)


def _p_values(differences: np.ndarray) -> np.ndarray:
    """One-sided p-values (runs,) of the exact paired test for a gain."""
    wins, differing = (differences == 1).sum(axis=1), (differences != 0).sum(axis=1)
    return stats.binom.sf(wins - 1, differing, 0.5)


def _significant(differences: np.ndarray) -> np.ndarray:
    return _p_values(differences) <= LEVEL


def _ever_significant(differences: np.ndarray) -> np.ndarray:
    wins, differing = np.cumsum(differences == 1, axis=1), np.cumsum(differences != 0, axis=1)
    most = differences.shape[1]
    fewest = stats.binom.isf(LEVEL, np.arange(most + 1), 0.5).astype(int) + 1
    return (wins >= fewest[differing]).any(axis=1)
