"""`physai bench promotion`: candidates of known worth go through promotion on the simulated arm, beside prediction."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np

    from physai_ros.evaluation.parallel import TrialCrew
    from physai_ros.evaluation.trials import TrialSettings
    from physai_ros.policy.registry import PolicyRegistry

TASK = "reach"
GAINS = {"current": 0.11, "worse": 0.06, "equal": 0.125, "better": 0.2}
"""Share of its displacement that a policy takes: the less, the more goals are out of reach before time runs out."""
MOST_PAIRS = 60
_DEMONSTRATIONS, _UPDATES = 12, 150
_NOISE = 0.02  # added to weights
_PREDICTED = 10_000


def promotion(
    runs: Annotated[int, typer.Option(min=1, max=1000, help="Promotions of each candidate.")] = 20,
    scenarios: Annotated[int, typer.Option(min=10, help="Other scenarios that tell what each is worth.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of policies and scenarios.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """A worse, an equal and a better candidate, each tested again and again, by the sequential test on real rollouts.

    What each is worth is counted on other scenarios; from that, simulated evaluations predict its verdicts.
    """
    import os

    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from physai_ros.cli.results import write_json
    from physai_ros.evaluation.parallel import TrialCrew
    from physai_ros.evaluation.trials import TrialSettings
    from physai_ros.policy.registry import PolicyRegistry

    console = Console()
    with tempfile.TemporaryDirectory(prefix="physai-") as folder, Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("policies", total=None)
        registry = PolicyRegistry(folder)
        versions = make_policies(registry, seed)
        settings = TrialSettings(TASK, str(registry.folder))
        with TrialCrew(len(os.sched_getaffinity(0))) as crew:
            progress.update(bar, description="worth", total=len(GAINS) * scenarios)
            worth = {
                name: successes(version, settings, crew, scenarios, seed, lambda _: progress.advance(bar))
                for name, version in versions.items()
            }
            progress.update(bar, description="promotions", completed=0, total=3 * runs)
            rows = []
            for name in ("worse", "equal", "better"):
                found = []
                for run in range(runs):
                    found.append(promoted(registry, versions[name], settings, crew, seed + run))
                    progress.advance(bar)
                rows.append(row_of(name, found, worth[name], worth["current"], seed))
    table = Table("candidate", "success", "current's", "verdicts", "predicted", "p", "promoted", "pairs", box=None)
    for row in rows:
        verdicts = ", ".join(f"{row[word]} {word.replace('_', ' ')}" for word in ("better", "worse", "undecided"))
        table.add_row(
            row["candidate"],
            f"{row['success']:.0%}",
            f"{row['current']:.0%}",
            verdicts,
            f"better {row['predicted_better']:.1%}, worse {row['predicted_worse']:.1%}",
            f"{row['p']:.2g}",
            f"{row['promoted']} of {row['runs']}",
            f"{row['pairs']:.1f}",
        )
    console.print(table)
    figures = {f"promoted_{row['candidate']}": row["promoted"] / row["runs"] for row in rows}
    figures |= {f"p_{row['candidate']}": row["p"] for row in rows}
    if json_file is not None:
        write_json(json_file, "bench promotion", seed, figures, rows=rows)


def make_policies(registry: PolicyRegistry, seed: int) -> dict[str, str]:
    """Versions by their names, `current` active: one network that has learned to reach, made slower by each gain.

    In the equal one some noise was added to the weights: it wins and loses where current does not, and as often.
    """
    import torch

    from physai_ros.evaluation.rollout import Rollout
    from physai_ros.robot.spec import RobotSpec
    from physai_ros.tasks.catalog import load_task
    from physai_ros.training.config import TrainerConfig
    from physai_ros.training.dataset import TransitionBuilder
    from physai_ros.transfer.first_policy import NOISE, demonstrate, warm_start

    task = load_task(TASK)
    rollout = Rollout(RobotSpec.load("fr3_sim"), task)
    episodes = list(demonstrate(rollout, _DEMONSTRATIONS, seed, NOISE))
    rollout.close()
    builder = TransitionBuilder(rollout.arm.kinematics, task)
    config = TrainerConfig(seed=seed, warm_start_updates=_UPDATES)
    trainer = warm_start(episodes, task, builder, config, lambda _done, _total: None)
    generator = torch.Generator().manual_seed(seed)
    versions = {}
    for name, gain in GAINS.items():
        network = trainer.policy_network()
        if name == "equal":
            for parameter in network.parameters():
                parameter.add_(_NOISE * torch.randn(parameter.shape, generator=generator))
        for parameter in network.action_heads.parameters():
            parameter.mul_(gain)
        manifest = registry.add(network, task=TASK, action_axes=task.action_axes, action_scale=task.action_scale)
        versions[name] = manifest.version
    registry.activate(versions["current"])
    return versions


def successes(
    version: str,
    settings: TrialSettings,
    crew: TrialCrew,
    scenarios: int,
    seed: int,
    on_result: Callable[[object], None],
) -> np.ndarray:
    """What a version does (scenarios,) of the nominal scenarios of a seed."""
    import numpy as np

    from physai_ros.evaluation.scenario_sets import scenario_seeds
    from physai_ros.evaluation.trials import Trial

    trials = [Trial(i, each, version) for i, each in enumerate(scenario_seeds("nominal", seed, scenarios))]
    return np.array([result.success for result in crew.run(trials, settings, on_result=on_result)])


def promoted(
    registry: PolicyRegistry, version: str, settings: TrialSettings, crew: TrialCrew, seed: int
) -> tuple[str, bool, int]:
    """Verdict on a candidate, whether it may drive, and after how many pairs, on scenarios of this seed."""
    from physai_ros.evaluation.promotion import PromotionRule, judge_candidate

    rule = PromotionRule("better", most_episodes=MOST_PAIRS, test="sequential", seed=seed)
    result = judge_candidate(registry, version, settings, rule, crew=crew)
    return result.verdict, result.promoted, len(result.evaluation.results)


def row_of(
    name: str, found: list[tuple[str, bool, int]], worth: np.ndarray, current: np.ndarray, seed: int
) -> dict[str, Any]:
    """What came of a candidate beside what was to be expected; `p` is that of the verdict that was predicted most."""
    import numpy as np
    from scipy import stats

    from physai_ros.evaluation.error_study import draw_pairs
    from physai_ros.evaluation.power import run_spending

    won, lost = float((worth & ~current).mean()), float((~worth & current).mean())
    draws = draw_pairs(np.random.default_rng([seed, 0xB0]), won, lost, _PREDICTED, MOST_PAIRS)
    decided, _ = run_spending(draws)
    verdicts = [verdict for verdict, _, _ in found]
    counts = {word: verdicts.count(word) for word in ("better", "worse")}
    counts["undecided"] = len(found) - sum(counts.values())
    expected = {"better": float((decided == 1).mean()), "worse": float((decided == -1).mean())}
    expected["undecided"] = 1.0 - sum(expected.values())
    likely = max(expected, key=lambda word: expected[word])
    return {
        "candidate": name,
        "success": float(worth.mean()),
        "current": float(current.mean()),
        "won": won,
        "lost": lost,
        "runs": len(found),
        **counts,
        **{f"predicted_{word}": share for word, share in expected.items()},
        "p": float(stats.binomtest(counts[likely], len(found), expected[likely]).pvalue),
        "promoted": sum(may for _, may, _ in found),
        "pairs": float(np.mean([pairs for _, _, pairs in found])),
    }
