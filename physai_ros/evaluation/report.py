"""One page about a run: `report.html`, which needs no network, and the pictures beside it."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2

from physai_ros.evaluation import report_figures as draw
from physai_ros.evaluation.report_tables import read_table
from physai_ros.evaluation.report_timing import draw_timing, timing_table
from physai_ros.evaluation.report_versions import draw_health, draw_versions
from physai_ros.evaluation.run_record import ComparisonRow, HeldOutEvaluation, RunRecord
from physai_ros.evaluation.run_sources import read_run
from physai_ros.evaluation.statistics import bootstrap_gain, clopper_pearson
from physai_ros.evaluation.verdict import Comparison, compare
from physai_ros.robot.share import share_path


class _Picture(NamedTuple):
    file: str
    title: str
    caption: str
    draw: Callable[[RunRecord, Path], bool]


_PICTURES = (
    _Picture(
        "before_after.png",
        "Before, after, and what each part is worth",
        "Held-out scenarios, which no training, promotion or choice has seen; before and after met the same ones.",
        draw.draw_arms,
    ),
    _Picture(
        "success.png",
        "Learning on the job",
        f"Line and band: success without help in the last {draw.WINDOW} training episodes, Wilson interval. Ticks over "
        "and under it: single episodes. Diamonds: held-out scenarios, Clopper–Pearson interval.",
        draw.draw_success,
    ),
    _Picture(
        "versions.png",
        "Version by version",
        "Left: paired gain of a version over the one that it was tested against (Tango's interval); the colour is the "
        "verdict. Right: what became of the training episodes that each version drove.",
        draw_versions,
    ),
    _Picture(
        "health.png",
        "Health and latency",
        "Left: not started, learning, stuck or broken, from success and the operator's time, the last episodes beside "
        "the first. Right: times between a measurement and what follows from it.",
        draw_health,
    ),
    _Picture(
        "timing.png",
        "Timing of control",
        "What the nodes of control told every second: how long their cycles took, how old what they acted on was, "
        "and where a deadline was missed. Logarithmic.",
        draw_timing,
    ),
    _Picture(
        "gate.png",
        "What was worth learning from",
        "Left: share of each kind of sample in what was offered to the gate and in what received a gradient; kinds may "
        "overlap. Right: the measured rate, counted, not derived from the target.",
        draw.draw_gate,
    ),
    _Picture(
        "safety.png",
        "Force and safety",
        "Every episode on the arm, in the order in which it was run.",
        draw.draw_safety,
    ),
)


def write_report(folder: Path, out: Path | None = None, results: Sequence[Path] = ()) -> Path:
    """Path of the `report.html` drawn from what a run left in its folder; PNG files are put beside it.

    Args:
        folder: of the run.
        out: where the page goes; None: into the run's folder.
        results: files that `--json` of other commands wrote, each of which becomes a table of the page.

    Raises:
        ValueError: the folder holds no run, a picture that it names is missing, or a file is no result.
    """
    run, tables = read_run(folder), [read_table(path) for path in results]
    timing = timing_table(run)
    out = folder if out is None else out
    out.mkdir(parents=True, exist_ok=True)
    pictures = [
        {"title": p.title, "caption": p.caption, "data": _base64(out / p.file)}
        for p in _PICTURES
        if p.draw(run, out / p.file)
    ]
    strips = []
    for i, strip in enumerate(run.strips):
        path = out / f"frames_{i}.png"
        if draw.draw_strip(strip, folder, path):
            strips.append({"title": strip.title, "caption": strip.caption, "data": _base64(path)})
    comparisons = _comparisons(run)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(share_path("config", "report", "report.html.j2").read_text())
    path = out / "report.html"
    path.write_text(
        template.render(
            title=f"{run.task or 'run'}: {run.instruction}" if run.instruction else run.task or "run",
            lead=_lead(run),
            answer=_answer(run),
            tiles=_tiles(run),
            pictures=pictures,
            strips=strips,
            comparisons=[_comparison_row(name, comparison) for name, comparison in comparisons],
            changes=run.changes,
            tests=[_test_row(test) for test in run.tests],
            tables=tables if timing is None else [timing, *tables],
            notes=run.notes,
            figures=[(name, _number(value)) for name, value in run.figures.items()],
            machine=list(run.machine.items()),
        ),
        encoding="utf-8",
    )
    return path


def _lead(run: RunRecord) -> str:
    parts = [
        f"physai {run.command}",
        run.robot,
        f"seed {run.seed}",
        run.version and f"version {run.version}",
        run.started,
    ]
    return " · ".join(part for part in parts if part)


def _first(run: RunRecord, role: str) -> HeldOutEvaluation | None:
    return next((e for e in run.evaluations if e.role == role), None)


def _answer(run: RunRecord) -> str:
    before, after = _first(run, "before"), _first(run, "after")
    if before is None or after is None or not before.successes or not after.successes:
        return ""
    rates = [sum(e.successes) / len(e.successes) for e in (before, after)]
    text = f"Success on held-out scenarios went from {rates[0]:.0%} to {rates[1]:.0%}"
    if before.seeds != after.seeds:
        return f"{text}."
    differences = [float(a) - float(b) for a, b in zip(after.successes, before.successes, strict=True)]
    if len(set(after.group)) > 1:
        interval, way = bootstrap_gain(differences, after.group), "bootstrap over training seeds and scenarios"
    else:
        comparison = compare(after.successes, before.successes)
        interval, way = (comparison.gain_lower, comparison.gain_upper), "paired"
    gain = 100 * (rates[1] - rates[0])
    return f"{text}: {gain:+.0f} points, 95 % interval {100 * interval[0]:+.0f} to {100 * interval[1]:+.0f} ({way})."


def _tiles(run: RunRecord) -> list[dict[str, str]]:
    tiles = []
    for role in ("before", "after"):
        evaluation = _first(run, role)
        if evaluation is not None and evaluation.successes:
            successes, trials = sum(evaluation.successes), len(evaluation.successes)
            lower, upper = clopper_pearson(successes, trials)
            tiles.append(
                {"value": f"{successes / trials:.0%}", "name": f"{role} ({lower:.0%} to {upper:.0%}, n = {trials})"}
            )
    if run.episodes:
        last = run.episodes[-1]
        tiles += [
            {"value": str(len(run.episodes)), "name": "episodes on the arm"},
            {"value": str(sum(e.interventions for e in run.episodes)), "name": "interventions"},
            {"value": str(sum(e.safety_stops for e in run.episodes)), "name": "safety stops"},
            {"value": f"{last.wall_time / 60:.1f} min", "name": "wall time to the last episode"},
        ]
    if run.activation:
        rates = [a.rate for a in run.activation if math.isfinite(a.rate)]
        if rates:
            tiles.append({"value": f"{sum(rates) / len(rates):.1%}", "name": "mean activation rate"})
    return tiles


def _comparisons(run: RunRecord) -> list[tuple[str, Comparison]]:
    """After against before and against every control arm that was run on the same scenarios."""
    after = _first(run, "after")
    if after is None:
        return []
    others = [e for e in run.evaluations if e.role in ("before", "control") and e.seeds == after.seeds]
    return [(f"{after.label}, {other.label}", compare(after.successes, other.successes)) for other in others]


def _comparison_row(name: str, comparison: Comparison) -> dict[str, str]:
    return {
        "name": name,
        "pairs": str(comparison.counts.trials),
        "won": str(comparison.counts.candidate_only),
        "lost": str(comparison.counts.current_only),
        "gain": f"{100 * comparison.gain:+.0f} points",
        "interval": f"{100 * comparison.gain_lower:+.0f} to {100 * comparison.gain_upper:+.0f}",
        "p": f"{comparison.p_value:.2g}",
        "e": f"{comparison.e_value:.2g}",
        "verdict": comparison.verdict.replace("_", " "),
    }


def _test_row(test: ComparisonRow) -> dict[str, str]:
    return {
        "name": f"{test.version}, {test.against}",
        "set": test.scenario_set,
        "pairs": str(test.pairs),
        "success": f"{test.success:.0%} : {test.success_against:.0%}",
        "gain": f"{100 * test.gain:+.0f} ({100 * test.gain_lower:+.0f} to {100 * test.gain_upper:+.0f})",
        "verdict": test.verdict.replace("_", " "),
        "tone": {"better": "good", "worse": "bad"}.get(test.verdict, ""),
        "detail": test.detail,
    }


def _number(value: float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
