"""The training bench: the same for every sampler, resumable, and its figures are those of its rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from physai_ros.cli.main import app
from physai_ros.cli.sampler_study import Arm, RowFile, StudyPlan, best_arm, cost_of, run_seed, significance_of
from physai_ros.cli.training_problems import MetaworldProblem, Problem
from physai_ros.policy.network import RobotPolicyNetwork
from physai_ros.training.dataset import Transitions


class _Line(Problem):
    """Succeeds where the network has learned that the action is the first observation."""

    name = "line"
    asked = 0

    def demonstrations(self, count: int, seed: int) -> list[Transitions]:
        generator = np.random.default_rng(seed)
        observations = generator.uniform(-1, 1, (count, 50, 3)).astype(np.float32)
        full, unknown = np.ones(50, dtype=np.float32), np.full(50, np.inf, dtype=np.float32)
        return [
            Transitions(rows, rows[:, None, :2], full[:, None], full > 0, full > 0, full, full, 0 * full, unknown)
            for rows in observations
        ]

    def rollouts(self, network: RobotPolicyNetwork, count: int, seed: int, first: int = 0) -> list[bool]:
        import torch

        self.asked += count
        observations = torch.rand(100, 3, generator=torch.Generator().manual_seed(seed))[first : first + count] * 2 - 1
        actions = network(observations).actions.mean(dim=1)[:, 0]
        return ((actions - observations[:, :2]).abs().amax(dim=1) < 0.2).tolist()


PLAN = StudyPlan(checkpoints=(0.01, 0.2, 0.6), demonstrations=6, rollouts=40)
ARMS = [Arm(name, 3e-3, 64) for name in ("uniform", "ast")]


def test_every_arm_is_judged_at_every_checkpoint_and_pays_for_what_it_did(tmp_path):
    rows = run_seed(_Line(), ARMS, PLAN, 0, RowFile(tmp_path / "rows.jsonl"), lambda row: None)
    assert [row["sampler"] for row in rows] == ["uniform", "ast"]
    for row in rows:
        costs = [point["cpu_seconds"] for point in row["curve"]]
        assert all(cost >= asked for cost, asked in zip(costs, PLAN.checkpoints, strict=True))
        assert row["curve"][-1]["success"] > row["curve"][0]["success"]
        assert row["curve"][-1]["backward"] <= row["curve"][-1]["offered"]
    assert rows[0]["activation_rate"] == 1.0
    assert abs(rows[1]["activation_rate"] - 0.06) < 0.02


def test_a_study_that_is_run_again_goes_on_from_its_rows(tmp_path):
    first = run_seed(_Line(), ARMS[:1], PLAN, 0, RowFile(tmp_path / "rows.jsonl"), lambda row: None)
    problem = _Line()
    again = run_seed(problem, ARMS, PLAN, 0, RowFile(tmp_path / "rows.jsonl"), lambda row: None)
    assert again[0] == first[0]
    assert problem.asked == sum(point["rollouts"] for point in again[1]["curve"])


@pytest.mark.parametrize(("succeeds", "rollouts"), [(False, 20), (True, PLAN.rollouts)])
def test_a_policy_that_mostly_fails_is_not_rolled_out_as_often(tmp_path, succeeds, rollouts):
    problem = _Line()
    problem.rollouts = lambda network, count, seed, first=0: [succeeds] * count
    (row,) = run_seed(problem, ARMS[:1], PLAN, 0, RowFile(tmp_path / "rows.jsonl"), lambda row: None)
    assert [point["rollouts"] for point in row["curve"]] == [rollouts] * len(PLAN.checkpoints)


def row(sampler: str, rate: float, success: tuple[float, ...]) -> dict[str, object]:
    curve = [{"cpu_seconds": cost, "success": value} for cost, value in zip((1.0, 2.0, 4.0), success, strict=True)]
    return {"sampler": sampler, "learning_rate": rate, "batch_size": 64, "signals": "", "curve": curve}


def test_the_best_arm_is_the_one_that_is_there_first():
    slow, fast = row("ast", 1e-3, (0.1, 0.5, 0.9)), row("ast", 3e-3, (0.5, 0.9, 0.9))
    assert best_arm([slow, fast], 0.8).learning_rate == 3e-3
    never = row("ast", 3e-3, (0.1, 0.2, 0.3))
    assert cost_of(never, 0.8) == 8.0
    assert best_arm([slow, never], 0.8).learning_rate == 1e-3


def test_an_interpreter_without_metaworld_is_named(tmp_path):
    import sys
    from pathlib import Path

    problem = MetaworldProblem("assembly-v3", Path(sys.executable))
    with pytest.raises(ValueError, match="requirements/metaworld.txt"):
        problem.demonstrations(1, 0)
    problem.close()


def test_the_smoke_form_writes_the_figures(tmp_path):
    arguments = ["bench", "training", "--samplers", "uniform,ast", "--seeds", "1", "--rollouts", "2"]
    result = CliRunner().invoke(app, [*arguments, "--json", str(tmp_path / "figures.json")])
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "figures.json").read_text())["figures"]
    assert {"ast_vs_uniform_cpu", "ast_vs_uniform_cpu_lower", "ast_vs_uniform_worst_task"} <= set(figures)
    assert 0 < figures["selection_share"] < 1


def test_without_the_control_there_is_no_comparison():
    result = CliRunner().invoke(app, ["bench", "training", "--samplers", "ast"])
    assert result.exit_code != 0


def test_the_published_trainer_is_asked_for_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr("physai_ros.cli.published_gate.find_spec", lambda _name: None)
    arguments = ["bench", "training", "--full", "--tasks", "reach"]
    with pytest.raises(ValueError, match="pip install --no-deps adaptive-sparse-training==1.0.1"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_the_ablation_takes_one_signal_or_all_but_one():
    only, without = significance_of("only novelty"), significance_of("without novelty")
    assert only.w_novelty > 0 == only.w_learning == only.w_difficulty == only.w_uncertainty == only.w_physical
    assert without.w_novelty == 0 < min(without.w_learning, without.w_difficulty, without.w_physical)
    assert significance_of("none") == significance_of("")
    assert significance_of("all").w_novelty == significance_of("all").w_difficulty > 0
    with pytest.raises(ValueError, match="uncertainty"):
        significance_of("only luck")


def test_a_row_says_what_made_it(tmp_path):
    file = RowFile(tmp_path / "rows.jsonl", {"commit": "abc"})
    run_seed(_Line(), ARMS[:1], PLAN, 0, file, lambda row: None)
    assert RowFile(tmp_path / "rows.jsonl").rows[0]["commit"] == "abc"


def test_a_policy_judged_alone_fares_as_in_the_whole_control_cycle():
    from physai_ros.evaluation.bare_rollout import BareRollout
    from physai_ros.evaluation.rollout import Rollout
    from physai_ros.policy.network import Prediction
    from physai_ros.robot.spec import RobotSpec
    from physai_ros.simulation.physics import PhysicsParameters
    from physai_ros.tasks.catalog import load_task

    class Homing:
        """Goes to where the cube is, as `reach` wants it, or stays."""

        version = "homing"

        def __init__(self, gain: float) -> None:
            self.gain = gain

        def predict(self, observation: np.ndarray) -> Prediction:
            return Prediction(np.concatenate([self.gain * observation[-17:-14], [0.0] * (size - 3)])[None], 0.5, 0.0)

    spec, task = RobotSpec.load("fr3_sim"), load_task("reach")
    size, scenario = len(task.action_axes) + 1, task.sample_scenario(np.random.default_rng(3))
    # Where goals are told 4 cm away from where they are, going there is a failure.
    for physics, reached in ((PhysicsParameters(), 10.0), (PhysicsParameters(goal_x=0.04, actuator_delay=0.05), None)):
        bare, whole = BareRollout(spec, task, physics), Rollout(spec, task, physics=physics)
        for gain in (0.0, 10.0):
            whole.runtime.policy = Homing(gain)
            assert bare.succeeds(Homing(gain), scenario, 3) == whole.run(scenario, 3).outcome.success
            assert bare.succeeds(Homing(gain), scenario, 3) == (gain == reached)
        whole.close()
