"""Rounds of own episodes in simulation: what is kept, what is counted, and that a run that was cut off goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from physai_ros.cli.main import app
from physai_ros.evaluation.parallel import TrialCrew
from physai_ros.evaluation.rollout import Rollout
from physai_ros.experience.episode import Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.task import Scenario
from physai_ros.transfer.mastery import MasteryPlan, MasteryRun

PLAN = MasteryPlan("reach", demonstrations=4, rounds=2, episodes=3, updates=150, held_out=4)


@pytest.fixture(scope="module")
def mastered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mastery")
    return MasteryRun(PLAN, folder, TrialCrew(0)).run(), folder


def test_own_episodes_are_kept_and_judged_ones_are_not(mastered):
    row, folder = mastered
    summaries = EpisodeStore(folder / "episodes", create=False).summaries()
    assert len(summaries) == PLAN.rounds * PLAN.episodes
    assert {each.context.purpose for each in summaries.values()} == {Purpose.TRAIN}
    assert sum(each.outcome.success for each in summaries.values()) == sum(r["successes"] for r in row["rounds"])


def test_each_round_is_flown_by_what_the_round_before_taught(mastered):
    row, folder = mastered
    versions = PolicyRegistry(folder / "registry").versions()
    summaries = EpisodeStore(folder / "episodes", create=False).summaries()
    flown = [summaries[key].context.policy_version for key in sorted(summaries)]
    assert flown == [version for version in versions[: PLAN.rounds] for _ in range(PLAN.episodes)]
    assert len(versions) == 1 + PLAN.rounds == 1 + len(row["rounds"])


def test_a_row_says_what_it_cost_and_what_came_of_it(mastered):
    row, _ = mastered
    assert row["cpu_seconds"] > 0.0 and row["wall_seconds"] > 0.0
    for judged in (row["before"], row["after"]):
        assert judged["held_out"] == PLAN.held_out
        assert judged["lower"] <= judged["successes"] / PLAN.held_out <= judged["upper"]
        assert sum(judged["failures"].values()) == PLAN.held_out - judged["successes"]
    assert [each["interventions"] for each in row["rounds"]] == [0, 0]


def test_the_same_seed_comes_to_the_same_and_an_operator_may_help(mastered, tmp_path):
    row, _ = mastered
    one_round = replace(PLAN, rounds=1)
    with TrialCrew(1) as crew:
        again = MasteryRun(one_round, tmp_path / "again", crew).run()
        helped = MasteryRun(replace(one_round, operator=True, shifted=True, updates=1), tmp_path / "helped", crew).run()
    assert again["before"] == row["before"] and again["rounds"] == row["rounds"][:1]
    assert helped["rounds"][0]["interventions"] > 0  # of a policy that has learned nothing


def test_after_a_round_the_expert_shows_it_with_the_physics_that_own_recordings_tell_of(tmp_path):
    plan = replace(PLAN, rounds=1, episodes=2, practice=3, updates=1, held_out=1)
    told = []
    MasteryRun(plan, tmp_path, TrialCrew(0), told.append).run()
    simulated = EpisodeStore(tmp_path / "practice" / "after-00002", create=False).summaries()
    assert len(simulated) == 3
    assert {each.context.purpose for each in simulated.values()} == {Purpose.DEMONSTRATE}
    assert any("3 demonstrations with the physics that 2 own episodes tell of" in text for text in told)


def test_with_critics_one_policy_goes_on_and_explores(tmp_path):
    plan = replace(PLAN, objective="actor_critic", sampler="uniform", updates=30)
    row = MasteryRun(plan, tmp_path, TrialCrew(0)).run()
    registry = PolicyRegistry(tmp_path / "registry")
    assert registry.versions() == ("000001", "000002", "000003") and len(row["rounds"]) == plan.rounds
    store = EpisodeStore(tmp_path / "episodes", create=False)
    episode = store.read(next(iter(store.summaries())))
    quiet = Rollout(RobotSpec.load("fr3_sim"), load_task("reach"))
    quiet.runtime.load(registry, "000001")
    alone = quiet.run(Scenario.from_json(episode.context.scenario_json), episode.context.seed, Purpose.TRAIN)
    quiet.close()
    count = min(len(alone), len(episode))
    proposed = [each.series["commanded_positions"][:count] for each in (alone, episode)]
    assert np.abs(proposed[0] - proposed[1]).max() > 1e-3


def test_a_bench_that_is_run_again_goes_on_from_its_rows(tmp_path):
    rows, figures, picture = (tmp_path / name for name in ("rows.jsonl", "figures.json", "picture.png"))
    command = "bench mastery --tasks reach --demonstrations 3 --rounds 1 --episodes 2 --updates 30 --held-out 2"
    arguments = [*command.split(), "--workers", "0", "--results", str(rows), "--json", str(figures)]
    arguments += ["--picture", str(picture)]
    assert CliRunner().invoke(app, [*arguments, "--seeds", "1"]).exit_code == 0
    first = rows.read_text()
    assert CliRunner().invoke(app, [*arguments, "--seeds", "2"]).exit_code == 0
    assert rows.read_text().startswith(first) and len(rows.read_text().splitlines()) == 2
    assert picture.read_bytes().startswith(b"\x89PNG")
    found = json.loads(figures.read_text())["figures"]
    assert 0.0 <= found["reach_after_lower"] <= found["reach_after"] <= found["reach_after_upper"] <= 1.0


def test_the_documentation_has_the_rows():
    root = Path(__file__).parents[2]
    rows = [json.loads(line) for line in (root / "benchmarks/mastery/rows.jsonl").read_text().splitlines()]
    text = (root / "docs/reinforcement_learning.md").read_text()
    in_words = {("pick_place", "actor_critic")}
    plans = [(row, row["plan"]) for row in rows]
    told = [row for row, plan in plans if not plan.get("shifted") and (plan["task"], plan["objective"]) not in in_words]
    assert len(told) == 9
    for row in told:
        after, shown = row["after"], row["demonstrated_seconds"]
        bounds = f"{100 * after['lower']:.0f} to {100 * after['upper']:.0f}"
        cells = f"{after['successes']} % ({bounds}) | {after['seconds']:.1f} s ({shown:.1f} s) | "
        assert cells + f"{after['peak_force']:.0f} N" in text, (row["task"], row["seed"], cells)
