"""The sim-to-real loop: rounds, budget, stopping, and that the method sees recordings alone."""

import json
from functools import partial

import numpy as np
import pytest
from typer.testing import CliRunner

from physai_ros.cli.main import app
from physai_ros.evaluation.cluster import trial_crew
from physai_ros.experience.episode import Purpose
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.twins import Twin
from physai_ros.tasks.catalog import load_task
from physai_ros.transfer.adaptation import METHODS
from physai_ros.transfer.reality import TwinReality
from physai_ros.transfer.sim_to_real import Sim2RealConfig, create_adaptive_sim2real_trainer
from physai_ros.transfer.transfer_claims import gap_figures, pooled_ratio, recovery_figures
from physai_ros.transfer.transfer_run import TransferPlan, TransferRun

SMALL = Sim2RealConfig(demonstrations=5, updates=100, milestones=(2,), enough_of=1000)


QUICK = {"iterations": 1, "trials": 3}


def trainer(folder, method: str, config: Sim2RealConfig = SMALL):
    registry = PolicyRegistry(folder)
    reality = TwinReality(RobotSpec.load("fr3_sim"), load_task("reach"), registry, Twin.draw(1))
    return create_adaptive_sim2real_trainer("reach", reality, registry, method=method, config=config, options=QUICK)


def test_batches_use_the_whole_budget():
    for budget in (1, 9, 10, 11, 25, 50, 60):
        batches = Sim2RealConfig().batches(budget)
        assert sum(batches) == budget and min(batches) > 0
    assert Sim2RealConfig().batches(50) == [10, 15, 25]


def test_adaptive_listens_trains_and_keeps_its_versions(tmp_path):
    result = trainer(tmp_path, "adaptive").run(2)
    assert list(result.versions) == [2] and result.final == result.versions[2] != result.first
    assert len(result.real_successes) == 2 and len(result.fits) == 1
    assert result.fits[0].gap_after < result.fits[0].gap_before


def test_controls_do_not_touch_the_arm(tmp_path):
    assert trainer(tmp_path / "none", "none").run(3, "000001").versions == {}
    fixed = trainer(tmp_path / "fixed", "fixed").run(3)
    assert list(fixed.versions) == [0] and fixed.real_successes == []


@pytest.mark.slow
def test_enough_is_enough(tmp_path):
    config = Sim2RealConfig(demonstrations=5, updates=100, milestones=(2,), enough=0.0, enough_of=2)
    result = trainer(tmp_path, "widen", config).run(50)
    assert result.stopped_early and len(result.real_successes) == 2 and result.final == result.first


@pytest.mark.slow
def test_feedback_moves_the_randomization(tmp_path):
    loop = trainer(tmp_path, "feedback")
    before = loop.adaptation.randomization.distribution
    loop.run(2)
    after = loop.adaptation.randomization.distribution
    assert np.abs(after.spread - before.spread).max() > 0.0


def test_a_twin_gives_away_recordings_alone(tmp_path):
    loop = trainer(tmp_path, "none")
    version = loop.first_policy()
    reality = TwinReality(RobotSpec.load("fr3_sim"), loop.task, loop.registry, Twin.draw(1))
    episode = reality.run(version, 7, "one")
    assert episode.context.purpose == Purpose.TRAIN and episode.context.policy_version == version
    assert not [name for name in vars(reality) if not name.startswith("_")]


def test_unknown_methods_are_refused():
    with pytest.raises(ValueError, match="unknown method 'magic'.*adaptive"):
        create_adaptive_sim2real_trainer("reach", None, None, method="magic")


def row(twin: int, method: str, before: float, after: dict[int, float], task: str = "reach") -> dict:
    points = [{"real_episodes": at, "success": success} for at, success in after.items()]
    return {
        "task": task,
        "twin_seed": twin,
        "method": method,
        "budget": 50,
        "success_sim": 1.0,
        "success_zero_shot": before,
        "checkpoints": points,
    }


def test_claims_pool_what_was_lost_and_won_back():
    rows = [row(twin, "adaptive", 0.5, {10: 0.6, 25: 0.75, 50: 1.0}) for twin in range(6)]
    rows += [row(twin, "fixed", 0.5, {0: 0.6}) for twin in range(6)]
    assert gap_figures(rows)["gap_without"] == pytest.approx(0.5)
    assert recovery_figures(rows, "adaptive", 25)["recovered_adaptive_25"] == pytest.approx(0.5)
    assert recovery_figures(rows, "adaptive", 50)["recovered_adaptive_50_lower"] == pytest.approx(1.0)
    assert recovery_figures(rows, "fixed", 25)["recovered_fixed_25"] == pytest.approx(0.2)
    assert np.isnan(recovery_figures(rows, "fit", 25)["recovered_fit_25"])


def test_few_twins_have_no_interval():
    ratio, lower, upper = pooled_ratio(np.array([[0.2, 0.4], [0.1, 0.2]]), [0, 1])
    assert ratio == pytest.approx(0.5) and np.isnan(lower) and np.isnan(upper)
    assert np.isnan(pooled_ratio(np.array([[0.1, 0.0]]), [0])[0])


def test_what_no_twin_has_a_part_in_is_trained_once(tmp_path):
    with trial_crew(0, "") as crew:
        run = TransferRun(tmp_path, crew)
        rows = [run.run(TransferPlan("reach", twin, "fixed", held_out=1, config=SMALL))[0] for twin in (1, 2)]
    assert [row["twin_seed"] for row in rows] == [1, 2]
    assert rows[0]["checkpoints"][0]["version"] == rows[1]["checkpoints"][0]["version"]
    assert len(run.registry.versions()) == 2


@pytest.mark.slow
def test_the_command_writes_its_figures(tmp_path):
    options = [
        "--task",
        "reach",
        "--twin-seed",
        "1",
        "--real-episodes",
        "2",
        "--demonstrations",
        "5",
        "--updates",
        "100",
    ]
    figures = tmp_path / "figures.json"
    done = CliRunner().invoke(app, ["transfer", *options, "--held-out", "5", "--workers", "0", "--json", str(figures)])
    assert done.exit_code == 0, done.output
    written = json.loads(figures.read_text())["figures"]
    assert {"success_sim", "success_zero_shot", "success_final", "gap_recovered", "real_episodes"} <= set(written)
    assert written["real_episodes"] == 2


@pytest.mark.slow
def test_a_bench_goes_on_where_it_was(tmp_path):
    rows = tmp_path / "rows.jsonl"
    options = [
        "--twins",
        "1",
        "--methods",
        "none,fixed",
        "--demonstrations",
        "5",
        "--updates",
        "100",
        "--held-out",
        "5",
        "--speed-episodes",
        "2",
    ]
    command = ["bench", "transfer", *options, "--workers", "0", "--results", str(rows)]
    invoke = partial(CliRunner().invoke, app, [*command, "--json", str(tmp_path / "figures.json")])
    assert invoke().exit_code == 0
    kept = rows.read_text()
    assert invoke().exit_code == 0 and rows.read_text() == kept
    figures = json.loads((tmp_path / "figures.json").read_text())["figures"]
    assert {"gap_without", "recovered_fixed_25", "recovered_adaptive_25", "recovered_adaptive_50"} <= set(figures)
    assert figures["episodes_per_second_mujoco"] > figures["episodes_per_second_sequential"] > 0.0
    assert {"episodes_per_second", "parallel_speed_up", "mujoco_share"} <= set(figures)
    assert figures["identical_results"] == 1.0


def test_methods_are_what_the_command_says():
    assert list(METHODS) == ["none", "fixed", "feedback", "fit", "widen", "adaptive"]
