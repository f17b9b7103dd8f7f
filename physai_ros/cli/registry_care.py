"""`physai policies` beyond promotion: where a version comes from, what was active when, what may go, what must stay."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

Registry = Annotated[Path, typer.Option("--registry", help="Folder of the policy versions.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]


def lineage(
    version: Annotated[str, typer.Argument(help="Version, or 'current'.")] = "current",
    registry: Registry = Path("registry"),
    json_file: JsonFile = None,
) -> None:
    """Show what a version comes from: parents, data, configuration, code, tests, and when it was active."""
    from rich.console import Console
    from rich.table import Table

    from physai_ros.cli.results import write_json
    from physai_ros.evaluation.jobs import read_status
    from physai_ros.evaluation.protocol import resolve_version
    from physai_ros.policy.history import ancestors, read_history
    from physai_ros.policy.registry import PolicyRegistry

    versions = PolicyRegistry(registry)
    rows = []
    for manifest in ancestors(versions, resolve_version(versions, version)):
        status = read_status(registry / "evaluations", f"promotion-{manifest.version}")
        rows.append(
            {
                "version": manifest.version,
                "parents": ", ".join(manifest.parents) or "-",
                "data": _short(manifest.data or {"episodes": manifest.metrics.get("episodes", "unknown")}),
                "configuration": _short(manifest.configuration) or "not recorded",
                "code": f"{manifest.code_version} {manifest.code_sha256[:8]}".strip(),
                "tested": f"{status.verdict}: {status.detail}" if status is not None else "-",
            }
        )
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*row.values())
    console = Console()
    console.print(table)
    names = {row["version"] for row in rows}
    past = [entry for entry in read_history(registry) if entry.activation.version in names]
    for entry in past:
        active = entry.activation
        console.print(
            f"{_when(entry.stamp)}  generation {active.generation}: {active.version} active, {active.verdict}"
            f"{f' at {active.speed:.0%} of full speed' if active.speed < 1 else ''}; {active.reason}"
        )
    if json_file is not None:
        write_json(json_file, "policies lineage", 0, {"ancestors": len(rows), "activations": len(past)}, rows=rows)


def gc(
    registry: Registry = Path("registry"),
    keep: Annotated[int, typer.Option(min=0, help="Newest versions whose weights stay.")] = 20,
    drop_active: Annotated[
        bool, typer.Option("--drop-active", help="Also weights that once drove; else these stay.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Delete weights that nobody needs. Manifests stay, and so do the active version and the one before it."""
    from physai_ros.cli.results import write_json
    from physai_ros.policy.history import collect, collectable
    from physai_ros.policy.registry import PolicyRegistry

    versions = PolicyRegistry(registry)
    if not versions.versions():
        raise ValueError(f"there is no policy in {registry}; name another --registry")
    going = collectable(versions, keep, keep_active=not drop_active)
    freed = sum((registry / version / "weights.safetensors").stat().st_size for version in going)
    if not dry_run:
        freed = collect(versions, going)
    word = "would go" if dry_run else "are gone"
    typer.echo(f"weights of {len(going)} of {len(versions.versions())} versions {word}, {freed / 1e6:.1f} MB")
    if going:
        typer.echo(", ".join(going))
    if json_file is not None:
        figures = {"versions": len(versions.versions()), "collected": len(going), "bytes": freed}
        write_json(json_file, "policies gc", 0, figures, rows=[{"version": version} for version in going])


def regression(
    registry: Registry = Path("registry"),
    add: Annotated[str, typer.Option(help="Episode of --store whose failure is fixed; it is tried out first.")] = "",
    store: Annotated[Path, typer.Option(help="Folder of the episode store.")] = Path("episodes"),
    version: Annotated[str, typer.Option(help="Version that is said to have fixed it.")] = "current",
    robot: Annotated[str, typer.Option(help="Robot configuration, by name or path.")] = "fr3_sim",
    json_file: JsonFile = None,
) -> None:
    """List the failures that were once fixed, or take in another one after it was shown that it is fixed."""
    from rich.console import Console
    from rich.table import Table

    from physai_ros.cli.results import write_json
    from physai_ros.evaluation.regression_set import RegressionSet

    known = RegressionSet(registry)
    if add:
        _take_in(known, add, store, registry, version, robot)
    entries = known.entries()
    table = Table("task", "scenario", "failed", "by", "fixed", "seen in", box=None)
    for entry in entries:
        scenario = str(entry.scenario_seed)
        table.add_row(entry.task, scenario, entry.failed, entry.failure_mode, entry.fixed, entry.source)
    Console().print(table if entries else f"no failure was fixed yet that {registry} knows of")
    if json_file is not None:
        rows = [
            {"task": e.task, "scenario_seed": e.scenario_seed, "failed": e.failed, "fixed": e.fixed} for e in entries
        ]
        write_json(json_file, "policies regression", 0, {"failures": len(entries)}, rows=rows)


def _take_in(known: object, episode: str, store: Path, registry: Path, version: str, robot: str) -> None:
    from physai_ros.evaluation.parallel import run_trials
    from physai_ros.evaluation.protocol import resolve_version
    from physai_ros.evaluation.regression_set import FixedFailure
    from physai_ros.evaluation.trials import Trial, TrialSettings
    from physai_ros.experience.store import EpisodeStore
    from physai_ros.policy.registry import PolicyRegistry

    summary = EpisodeStore(store, create=False).summary(episode)
    context = summary.context
    if summary.outcome.success:
        raise ValueError(f"episode {episode} succeeded; name one that failed")
    fixing = resolve_version(PolicyRegistry(registry), version)
    trial = Trial(0, context.seed, fixing, scenario_json=context.scenario_json)
    (result,) = run_trials([trial], TrialSettings(context.task, str(registry), robot))
    if not result.success:
        raise ValueError(f"policy {fixing} fails it, too ({result.failure_mode}): it is not fixed yet")
    mode = summary.failure_mode or summary.outcome.failure_mode
    known.add(
        [
            FixedFailure(
                task=context.task,
                scenario_seed=context.seed,
                failed=context.policy_version or "unknown",
                failure_mode=mode,
                fixed=fixing,
                source=f"episode {episode}",
                scenario_json=context.scenario_json,
            )
        ]
    )


def _short(values: dict[str, object]) -> str:
    text = ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items()
    )
    return text if len(text) <= 60 else f"{text[:57]}..."


def _when(stamp: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(stamp))
