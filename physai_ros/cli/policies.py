"""`physai policies`: list, compare, promote and roll back the versions of a registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from physai_ros.cli.calibrate import calibrate_version
from physai_ros.cli.registry_care import gc, lineage, regression

policies = typer.Typer(
    no_args_is_help=True, help="List, compare, promote, roll back, trace, collect and calibrate policy versions."
)

Registry = Annotated[Path, typer.Option("--registry", help="Folder of the policy versions.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]


@policies.command("list")
def list_versions(registry: Registry = Path("registry"), json_file: JsonFile = None) -> None:
    """List the versions, their parents, figures, verdicts and false-alarm rates; the active one is marked."""
    from rich.console import Console
    from rich.table import Table

    from physai_ros.cli.results import write_json
    from physai_ros.evaluation.jobs import read_status
    from physai_ros.policy.alarm_file import read_alarm
    from physai_ros.policy.registry import PolicyFileError, PolicyRegistry

    versions = PolicyRegistry(registry)
    if not versions.versions():
        raise ValueError(f"there is no policy in {registry}; train one with physai train, or name another --registry")
    active = versions.activation()
    table = Table("", "version", "task", "from", "updates", "episodes", "loss", "tested", "alarm", box=None)
    rows = []
    for version in versions.versions():
        try:
            manifest = versions.manifest(version)
            alarm = read_alarm(registry / version, manifest.sha256)
        except PolicyFileError as error:
            table.add_row("!", version, str(error), "", "", "", "", "", "")
            continue
        status = read_status(registry / "evaluations", f"promotion-{version}")
        figures = manifest.metrics
        rows.append({"version": version, "active": int(version == active.version), "task": manifest.task, **figures})
        table.add_row(
            "*" if version == active.version else "",
            version,
            manifest.task,
            ", ".join(manifest.parents) or "-",
            *(f"{figures[name]:.{digits}f}" if name in figures else "-" for name, digits in _SHOWN),
            status.verdict or status.state if status is not None else "-",
            f"{alarm.false_alarm_rate:.1%}" if alarm is not None else "-",
        )
    console = Console()
    console.print(table)
    if active.version:
        console.print(f"active: {active.version}, generation {active.generation}, {active.verdict}: {active.reason}")
    if json_file is not None:
        write_json(json_file, "policies list", 0, {"versions": len(rows), "generation": active.generation}, rows=rows)


_SHOWN = (("updates", 0), ("episodes", 0), ("loss", 4))


@policies.command("compare")
def compare_versions(
    candidates: Annotated[
        list[str], typer.Argument(metavar="VERSION... [AGAINST]", help="Versions, and what they are compared with.")
    ],
    against: Annotated[
        str, typer.Option(help="Version to compare with.", show_default="the last of several, else 'current'")
    ] = "",
    registry: Registry = Path("registry"),
    episodes: Annotated[int, typer.Option(min=1, help="Paired scenarios of each.")] = 50,
    margin: Annotated[float, typer.Option(min=0.0, max=0.99, help="Loss that is still not_worse.")] = 0.1,
    scenario_set: Annotated[str, typer.Option(help="As of physai evaluate.")] = "nominal",
    seed: Annotated[int, typer.Option(help="Of the scenarios.")] = 0,
    json_file: JsonFile = None,
) -> None:
    """Compare versions with another on the same scenarios of their task, on the nominal simulated arm.

    Of several the p-values are corrected for their number (Holm): one of many looks better by chance.
    """
    import os

    from rich.console import Console
    from rich.table import Table

    from physai_ros.cli.evaluate import show
    from physai_ros.cli.results import write_json
    from physai_ros.evaluation.protocol import EvaluationRequest, evaluate, resolve_version
    from physai_ros.evaluation.statistics import holm
    from physai_ros.evaluation.trials import TrialSettings
    from physai_ros.policy.registry import PolicyRegistry

    versions = PolicyRegistry(registry)
    if not against:
        *candidates, against = candidates if len(candidates) > 1 else [*candidates, "current"]
    named = [resolve_version(versions, name) for name in candidates]
    other = resolve_version(versions, against)
    task = versions.manifest(named[0]).task
    done = []
    for version in named:
        request = EvaluationRequest(version, task, other, scenario_set, episodes, seed=seed, margin=margin)
        done.append(evaluate(request, TrialSettings(task, str(registry)), workers=len(os.sched_getaffinity(0))))
        show(done[-1])
    adjusted = holm([evaluation.comparison.p_value for evaluation in done])
    rows = [
        {"version": version, "against": other, "verdict": evaluation.verdict, "p_holm": p, **evaluation.figures()}
        for version, evaluation, p in zip(named, done, adjusted, strict=True)
    ]
    if len(named) > 1:
        table = Table("version", "gain", "verdict by itself", "p", f"p of {len(named)} (Holm)", box=None)
        for row in rows:
            gain = f"{100 * row['gain']:+.0f}"
            table.add_row(row["version"], gain, row["verdict"], f"{row['p_value']:.2g}", f"{row['p_holm']:.2g}")
        Console().print(table)
    if json_file is not None:
        verdict = done[0].verdict if len(done) == 1 else None
        write_json(json_file, "policies compare", seed, done[0].figures() if len(done) == 1 else {}, verdict, rows)


@policies.command("promote")
def promote_version(
    version: Annotated[str, typer.Argument(help="Version that is to drive.")],
    registry: Registry = Path("registry"),
    untested: Annotated[bool, typer.Option("--untested", help="Take your word for it instead of a test.")] = False,
    mode: Annotated[str, typer.Option(help="Verdict that promotes: better or not_worse.")] = "not_worse",
    margin: Annotated[float, typer.Option(min=0.001, max=0.5, help="Loss that is still not_worse.")] = 0.1,
    episodes: Annotated[
        int, typer.Option(min=1, help="Paired scenarios to begin with; three times as many at most.")
    ] = 20,
    test: Annotated[
        str, typer.Option(help="looks: at three sizes; sequential: after every pair, 5 % over all.")
    ] = "looks",
    recordings: Annotated[
        Path | None, typer.Option(help="Episode store for the shadow run and the safety replay.")
    ] = None,
    regression_episodes: Annotated[
        int, typer.Option("--regression", min=0, help="Failures that were once fixed to run again.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of the scenarios.")] = 0,
) -> None:
    """Test a version against the active one and make it the active one if it earns it. Not while an evaluator runs."""
    import os

    from physai_ros.evaluation.promotion import PromotionRule, judge_candidate, promote
    from physai_ros.evaluation.trials import TrialSettings
    from physai_ros.policy.registry import PolicyRegistry

    versions = PolicyRegistry(registry)
    if untested:
        activation = versions.activate(version, verdict="initial", reason="promoted by hand, untested")
        typer.echo(f"{version} is active, generation {activation.generation}, untested")
        return
    settings = TrialSettings(versions.manifest(version).task, str(registry))
    rule = PromotionRule(mode, margin, episodes, 3 * episodes, seed, test=test, regression=regression_episodes)
    result = judge_candidate(
        versions,
        version,
        settings,
        rule,
        recordings=str(recordings or ""),
        workers=len(os.sched_getaffinity(0)),
        journals=registry / "evaluations",
    )
    for journal in (registry / "evaluations").glob(f"promotion-{version}-*.journal"):
        journal.unlink()
    if not result.promoted:
        raise ValueError(f"{version} is not promoted: {result.verdict}, {result.reason}")
    activation = promote(versions, result).activation
    typer.echo(f"{version} is active, generation {activation.generation}: {result.verdict}, {result.reason}")


@policies.command("rollback")
def rollback_version(
    version: Annotated[str, typer.Argument(help="Version to return to.", show_default="the one before")] = "",
    registry: Registry = Path("registry"),
    reason: Annotated[str, typer.Option(help="Why, in words; it is kept.")] = "asked for on the command line",
) -> None:
    """Return to the version before the active one, or to the one named; on a live graph call rollback_policy."""
    from physai_ros.evaluation.promotion import rollback
    from physai_ros.policy.registry import PolicyRegistry

    activation = rollback(PolicyRegistry(registry), version, reason)
    typer.echo(f"{activation.version} is active again, generation {activation.generation}")


policies.command("calibrate")(calibrate_version)
policies.command("lineage")(lineage)
policies.command("gc")(gc)
policies.command("regression")(regression)
