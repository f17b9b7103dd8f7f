"""`physai bench scenarios`: how many episodes the choice of scenarios saves against uniform ones."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from physai_ros.cli.training_problems import MetaworldProblem
    from physai_ros.evaluation.learning_curves import Crossing, PairedRatio
    from physai_ros.evaluation.rollout import Rollout
    from physai_ros.experience.episode import Episode
    from physai_ros.training.dataset import TransitionBuilder

Row = dict[str, Any]


class Choice(NamedTuple):
    """How an arm of the study chooses: method of the selector, and what the policy is asked before an episode."""

    method: str
    ask: bool = False
    rehearse: bool = False


ARMS = {
    "uniform": Choice("uniform"),
    "failure": Choice("failure"),
    "significance": Choice("significance"),
    "significance+policy": Choice("significance", ask=True),
    "rehearsal": Choice("uniform", rehearse=True),
}
"""Arms by name: start states judged (`ask`), or whole scenarios tried in the simulator (`rehearse`)."""

LEAST_PAIRS = 10
"""Seeds of a task from which on an interval is given: the bootstrap of a few pairs is far too narrow."""


@dataclass(frozen=True)
class ScenarioPlan:
    """What is the same for all arms of a seed.

    Attributes:
        task: that is learned on the shifted arm of the seed, from demonstrations in the nominal simulator; or one of
            MetaWorld, in its own world.
        episodes: on the arm, of each arm of the study.
        every: episodes between checkpoints; the policy of each is judged.
        rollouts: held-out uniform scenarios at every checkpoint, the same for all arms of a seed, by `BareRollout`.
        demonstrations: that all arms of a seed start from.
    """

    task: str = "pick_place"
    episodes: int = 48
    every: int = 8
    rollouts: int = 100
    demonstrations: int = 10

    def key(self) -> Row:
        """The plan as a row holds it."""
        return dict(vars(self))


def run_seed(
    plan: ScenarioPlan,
    arms: Iterable[str],
    seed: int,
    find: Callable[..., Row | None],
    add: Callable[[Row], None],
    metaworld: MetaworldProblem | None = None,
) -> list[Row]:
    """Rows of all arms on one seed; `find` gives a row that is there already, `add` keeps a new one.

    `metaworld` is the task of the plan where it is one of MetaWorld.
    """
    keys = {arm: {"arm": arm, "seed": seed, **plan.key()} for arm in arms}
    missing = [arm for arm, key in keys.items() if find(**key) is None]
    if missing and metaworld is not None:
        for arm in missing:
            add(keys[arm] | _try_starts(plan, ARMS[arm], seed, metaworld))
    elif missing:
        from physai_ros.evaluation.rollout import Rollout
        from physai_ros.robot.spec import RobotSpec
        from physai_ros.simulation.physics import shifted_arm
        from physai_ros.tasks.catalog import load_task
        from physai_ros.training.dataset import TransitionBuilder
        from physai_ros.transfer.first_policy import NOISE, demonstrate

        nominal = Rollout(RobotSpec.load("fr3_sim"), load_task(plan.task))
        demonstrations = list(demonstrate(nominal, plan.demonstrations, seed, NOISE))
        rollout = Rollout(nominal.spec, nominal.task, physics=shifted_arm(seed))
        builder = TransitionBuilder(rollout.arm.kinematics, rollout.task)
        for arm in missing:
            add(keys[arm] | _learn(plan, ARMS[arm], seed, rollout, builder, demonstrations))
    return [row for key in keys.values() if (row := find(**key)) is not None]


def _learn(
    plan: ScenarioPlan,
    choice: Choice,
    seed: int,
    rollout: Rollout,
    builder: TransitionBuilder,
    demonstrations: list[Episode],
) -> Row:
    """Success at every checkpoint of one arm, and what the operator had to do."""
    from physai_ros.evaluation.bare_rollout import BareRollout
    from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
    from physai_ros.policy.acting import ActingNetwork
    from physai_ros.policy.registry import PolicyRegistry
    from physai_ros.simulation.physics import shifted_arm
    from physai_ros.training.config import TrainerConfig
    from physai_ros.training.publishing import publish_policy
    from physai_ros.transfer.first_policy import warm_start
    from physai_ros.transfer.learning_run import LearningPlan, learn_on_arm

    # Samples are drawn uniformly, so that the choice of scenarios is all that differs.
    config = TrainerConfig(sampler="uniform", seed=seed, warm_start_updates=1000)
    trainer = warm_start(demonstrations, rollout.task, builder, config, lambda _done, _total: None)
    with tempfile.TemporaryDirectory() as folder:
        registry = PolicyRegistry(Path(folder))
        versions = [publish_policy(trainer, rollout.task, registry).version]
        registry.activate(versions[0])

        def take(candidate: str, _current: str) -> bool:
            versions.append(candidate)
            return True

        learning = LearningPlan(
            plan.episodes,
            plan.every,
            seed=seed,
            curriculum=choice.method,
            ask_policy=choice.ask,
            rehearse=choice.rehearse,
        )
        result = learn_on_arm(rollout, trainer, registry, learning, take)
        bare = BareRollout(rollout.spec, rollout.task, shifted_arm(seed))
        success = []
        for version in versions:
            policy = ActingNetwork(registry.load(version).network)
            numbers = scenario_seeds("held_out", seed, plan.rollouts)
            won = [bare.succeeds(policy, scenario_of(rollout.task, number), number) for number in numbers]
            success.append(sum(won) / len(won))
    return _row(plan, success, result.interventions, sum(result.own_success), result.rehearsals)


def _try_starts(plan: ScenarioPlan, choice: Choice, seed: int, problem: MetaworldProblem) -> Row:
    from physai_ros.cli.metaworld_scenarios import try_starts

    if choice.ask:
        raise ValueError("start states of MetaWorld are judged by nobody: leave out the arms that ask the policy")
    found = try_starts(
        problem,
        choice.method,
        rehearse=choice.rehearse,
        demonstrations=plan.demonstrations,
        episodes=plan.episodes,
        every=plan.every,
        rollouts=plan.rollouts,
        seed=seed,
    )
    return _row(plan, found.success, found.interventions, found.own_success, found.rehearsals)


def _row(plan: ScenarioPlan, success: Sequence[float], interventions: int, own_success: int, rehearsals: int) -> Row:
    return {
        "curve": [{"episodes": index * plan.every, "success": share} for index, share in enumerate(success)],
        "interventions": interventions,
        "own_success": own_success,
        "rehearsals": rehearsals,
    }


def episode_ratio(rows: Sequence[Row], arm: str, level: float = 0.9) -> PairedRatio:
    """How many times the episodes of an arm uniform scenarios take to `level`, paired by task and seed.

    Curves begin at the first checkpoint. What never reaches the level is counted against the arm: uniform scenarios as
    if they reached it at their last checkpoint, the arm as if it took twice as many; neither reaching it is a ratio of
    one. With fewer than `LEAST_PAIRS` pairs there is no interval: its bounds are NaN.
    """
    from physai_ros.evaluation.learning_curves import paired_ratio

    controls = {(row["task"], row["seed"]): row for row in rows if row["arm"] == "uniform"}
    ratios: dict[str, list[float]] = {}
    for row in rows:
        control = controls.get((row["task"], row["seed"]))
        if row["arm"] == arm and control is not None:
            ours, theirs = _crossing(row, level), _crossing(control, level)
            late = 2.0 if theirs.reached and not ours.reached else 1.0
            ratios.setdefault(row["task"], []).append(theirs.cost / (late * ours.cost))
    ratio = paired_ratio(ratios)
    if min(map(len, ratios.values())) < LEAST_PAIRS:
        ratio = ratio._replace(lower=math.nan, upper=math.nan)
    return ratio


def table_of(rows: Sequence[Row]) -> str:
    """The rows as Markdown, one line a task and arm; give it those of one number of rollouts."""
    lines = [
        "| task | arm | pairs | success after so many episodes | take-overs | rehearsals "
        "| episodes of uniform over this, to 90 % (95 %) |",
        "|---|---|---|---|---|---|---|",
    ]
    for task, arm in dict.fromkeys((row["task"], row["arm"]) for row in rows):
        mine = [row for row in rows if (row["task"], row["arm"]) == (task, arm)]
        points = zip(*(row["curve"] for row in mine), strict=True)
        curve = ", ".join(f"{at[0]['episodes']}: {sum(one['success'] for one in at) / len(at):.0%}" for at in points)
        helped, tried = (sum(row.get(what, 0) for row in mine) / len(mine) for what in ("interventions", "rehearsals"))
        ratio = _said(episode_ratio([row for row in rows if row["task"] == task], arm))
        lines.append(
            f"| {task} | {arm} | {len(mine)} | {curve} | {helped:.1f} | {tried:.0f} "
            f"| {'1' if arm == 'uniform' else ratio} |"
        )
    return "\n".join(lines)


def _said(ratio: PairedRatio) -> str:
    if math.isnan(ratio.lower):
        return f"{ratio.ratio:.2f} (too few)"
    return f"{ratio.ratio:.2f} ({ratio.lower:.2f} to {ratio.upper:.2f})"


def _crossing(row: Row, level: float) -> Crossing:
    from physai_ros.evaluation.learning_curves import crossing

    curve = row["curve"][1:]
    return crossing([point["episodes"] for point in curve], [point["success"] for point in curve], level)


def figures(rows: Sequence[Row], arm: str = "significance") -> dict[str, float]:
    """Figures of `bench training` and `bench scenarios`."""
    ratio = episode_ratio(rows, arm)
    return {
        "scenario_episode_ratio": ratio.ratio,
        "scenario_episode_ratio_lower": ratio.lower,
        "scenario_episode_ratio_upper": ratio.upper,
    }


def scenarios(
    full: Annotated[bool, typer.Option("--full", help="Ten seeds, 100 rollouts a checkpoint: takes hours.")] = False,
    task: Annotated[str, typer.Option(help="A task by name, or one of MetaWorld.")] = "pick_place",
    arms: Annotated[str, typer.Option(help="By commas; empty: all that can be had.")] = "",
    seeds: Annotated[int, typer.Option(min=0, help="How many; 0: 2, or 10 with --full.")] = 0,
    episodes: Annotated[int, typer.Option(min=8, help="On the arm, of each arm of the study.")] = 48,
    rollouts: Annotated[int, typer.Option(min=0, help="At each checkpoint; 0: 20, or 100 with --full.")] = 0,
    metaworld_python: Annotated[Path | None, typer.Option(help="Interpreter that has MetaWorld.")] = None,
    results: Annotated[Path | None, typer.Option(help="Rows are kept here; run again, it goes on.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the documentation's table as well.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Episodes on the arm until 90 % success, by how scenarios are chosen, paired by seed; an operator helps."""
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    from physai_ros.cli.results import made_by, write_json
    from physai_ros.cli.sampler_study import RowFile
    from physai_ros.cli.training_claims import marked
    from physai_ros.cli.training_problems import METAWORLD_TASKS

    names = [name for name in arms.split(",") if name] or [
        name for name, choice in ARMS.items() if not (choice.ask and task in METAWORLD_TASKS)
    ]
    unknown = [name for name in names if name not in ARMS]
    if unknown or "uniform" not in names or len(names) < 2:
        raise ValueError(f"arms are {arms!r}; expected uniform and some of: {', '.join(ARMS)}")
    plan = ScenarioPlan(task, episodes, rollouts=rollouts or (100 if full else 20))
    file, console = RowFile(results, made_by()), Console()
    numbers = range(seed, seed + (seeds or (10 if full else 2)))
    rows: list[Row] = []
    with _world_of(task, metaworld_python) as metaworld:
        for number in track(numbers, description=task, console=console, transient=True):
            rows += run_seed(plan, names, number, file.find, lambda row: file.add(row | file.made_by), metaworld)
    table = Table(title=f"{task}: success by episodes on the arm", title_justify="left")
    for name in ("arm", *(str(point["episodes"]) for point in rows[0]["curve"]), "take-overs", "ratio to 90 %"):
        table.add_column(name, justify="left" if name == "arm" else "right")
    for name in names:
        mine = [row for row in rows if row["arm"] == name]
        curves = zip(*([point["success"] for point in row["curve"]] for row in mine), strict=True)
        said = "1" if name == "uniform" else _said(episode_ratio(rows, name))
        helped = sum(row["interventions"] for row in mine) / len(mine)
        table.add_row(name, *(f"{sum(at) / len(at):.0%}" for at in curves), f"{helped:.1f}", said)
    console.print(table)
    if not full:
        console.print("[dim]A smoke run: too few seeds and rollouts to say anything.[/dim]")
    if markdown:
        typer.echo(marked(table_of(rows), "scenarios"))
    if json_file is not None:
        best = next(name for name in ("significance", *names) if name in names and name != "uniform")
        write_json(json_file, "bench scenarios", seed, figures(rows, best), rows=rows)


def _world_of(task: str, python: Path | None) -> AbstractContextManager[MetaworldProblem | None]:
    from physai_ros.cli.training_problems import METAWORLD_TASKS, MetaworldProblem, problem_of

    problem = problem_of(task, python) if task in METAWORLD_TASKS else None
    return closing(problem) if isinstance(problem, MetaworldProblem) else nullcontext()
