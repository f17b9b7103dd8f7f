"""A rollout is a function of scenario, seed, purpose, physics and policy, and lives by the rules of the graph."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import psutil
import pytest

from physai_ros.evaluation.cluster import trial_crew
from physai_ros.evaluation.parallel import Cancelled, TrialCrew, TrialError, run_trials
from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.evaluation.trials import Trial, TrialSettings
from physai_ros.evaluation.worker import TrialServer, versions
from physai_ros.experience.episode import Episode, Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.command import CommandSource
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.physics import SHIFTED_ARM
from physai_ros.tasks.catalog import load_task

SEEDS = scenario_seeds("nominal", 0, 4)


def same_series(a: Episode, b: Episode) -> bool:
    return set(a.series) == set(b.series) and all(
        np.array_equal(a.series[name], b.series[name], equal_nan=True) for name in a.series
    )


def learned(spec: RobotSpec, registry: PolicyRegistry) -> Rollout:
    rollout = Rollout(spec, load_task("reach"))
    rollout.runtime.load(registry, "000002")
    return rollout


def run(rollout: Rollout, seed: int, **options: object) -> Episode:
    return rollout.run(scenario_of(rollout.task, seed), seed, **options)


def test_an_episode_does_not_depend_on_the_ones_before(spec: RobotSpec, registry: PolicyRegistry) -> None:
    fresh = run(learned(spec, registry), SEEDS[1], physics=SHIFTED_ARM)
    used = learned(spec, registry)
    run(used, SEEDS[0], operator=True)
    run(used, SEEDS[2], purpose=Purpose.DEMONSTRATE)
    again = run(used, SEEDS[1], physics=SHIFTED_ARM)
    assert fresh.context == again.context
    assert fresh.outcome == again.outcome
    assert same_series(fresh, again)
    assert not same_series(again, run(used, SEEDS[1]))  # the nominal arm is another


def test_a_demonstration_records_what_was_meant(demonstrations: list[Episode]) -> None:
    assert sum(episode.outcome.success for episode in demonstrations) >= 10
    for episode in demonstrations:
        series = episode.series
        assert {len(column) for column in series.values()} == {len(episode)}
        assert (series["command_source"] == CommandSource.OPERATOR).mean() > 0.95
        assert np.abs(series["action_ee_delta"]).max() <= 0.12 + 1e-9
        assert (np.diff(series["sequence"]) == 1).all()
        assert episode.context.policy_version == ""
        changes = np.flatnonzero((np.diff(series["action_ee_delta"], axis=0) != 0).any(axis=1)) + 1
        assert (changes % 10 == 0).all()  # one decision a policy step


def test_commands_stay_inside_the_limits(spec: RobotSpec, registry: PolicyRegistry) -> None:
    for seed in SEEDS[:2]:
        series = run(learned(spec, registry), seed, physics=SHIFTED_ARM).series
        commands = series["command_positions"]
        assert ((commands >= spec.position_lower) & (commands <= spec.position_upper)).all()
        speed = np.abs(np.diff(commands, axis=0)) * spec.control_rate
        assert (speed <= spec.velocity_limits * (1 + 1e-6)).all()


def test_the_operator_helps_a_policy_that_does_nothing(spec: RobotSpec, registry: PolicyRegistry) -> None:
    rollout = Rollout(spec, load_task("reach"))
    rollout.runtime.load(registry, "000001")
    alone, helped = run(rollout, SEEDS[0]), run(rollout, SEEDS[0], operator=True)
    assert (alone.outcome.success, alone.outcome.failure_mode) == (False, "timeout")
    assert helped.outcome.success
    assert (helped.series["command_source"] == CommandSource.OPERATOR).any()
    assert (helped.series["command_source"] == CommandSource.POLICY).any()


def test_without_a_policy_there_is_nothing_to_run(spec: RobotSpec) -> None:
    with pytest.raises(RuntimeError, match="no policy is loaded"):
        run(Rollout(spec, load_task("reach")), SEEDS[0])


def test_the_number_of_workers_changes_nothing(registry: PolicyRegistry, tmp_path: Path) -> None:
    settings = TrialSettings("reach", str(registry.folder), physics={"encoder_noise": 0.004, "actuator_delay": 0.05})
    trials = [Trial(i, seed, "000002") for i, seed in enumerate(SEEDS)]
    heard: list[int] = []
    here = run_trials(trials, settings)
    beside = run_trials(trials, settings, workers=2, niceness=5, on_result=lambda result: heard.append(result.index))
    assert [result.outcome() for result in here] == [result.outcome() for result in beside]
    assert sorted(heard) == list(range(len(trials)))
    assert any(result.success for result in here)


def workers() -> set[int]:
    children = psutil.Process().children()
    return {each.pid for each in children if "physai_ros.evaluation.worker" in each.cmdline()}


def test_a_crew_is_kept_whatever_the_settings_and_replaced_where_it_died(registry: PolicyRegistry) -> None:
    settings = TrialSettings("reach", str(registry.folder))
    trials = [Trial(0, SEEDS[0], "000002")]
    others = workers()
    with TrialCrew(2) as crew:
        first = crew.run(trials, settings)
        crew_of_first = workers() - others
        again = crew.run(trials, settings)
        assert len(crew_of_first) == 1 and workers() - others == crew_of_first
        assert [result.outcome() for result in first] == [result.outcome() for result in again]

        (pid,) = crew_of_first
        victim = psutil.Process(pid)
        victim.kill()
        deadline = time.monotonic() + 10.0
        while victim.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            time.sleep(0.01)
        assert crew.run(trials, settings)[0].outcome() == first[0].outcome()
        assert workers() - others - crew_of_first

        replacement = workers() - others
        noisy = TrialSettings("reach", str(registry.folder), physics={"encoder_noise": 0.004})
        assert crew.run(trials, noisy)[0].outcome() == run_trials(trials, noisy)[0].outcome() != first[0].outcome()
        assert workers() - others == replacement
        with pytest.raises(TrialError, match="there is no policy '000009'"):
            crew.run([Trial(0, SEEDS[0], "000009")], settings)
        assert crew.run(trials, settings)[0].outcome() == first[0].outcome()
    assert workers() == others


def test_trials_are_kept_in_a_store(tmp_path: Path) -> None:
    settings = TrialSettings("reach", store=str(tmp_path / "episodes"))
    trials = [Trial(i, s, "", int(Purpose.DEMONSTRATE), f"demo-{i}", "", 0.2) for i, s in enumerate(SEEDS[:2])]
    results = run_trials(trials, settings, workers=2)
    store = EpisodeStore(tmp_path / "episodes", create=False)
    assert store.ids() == ["demo-0", "demo-1"]
    for result in results:
        summary = store.summary(f"demo-{result.index}")
        assert (summary.outcome.success, summary.samples) == (result.success, result.cycles)
        assert summary.metrics["peak_force"] == pytest.approx(result.peak_force)


def test_what_goes_wrong_in_a_worker_is_said_in_words(registry: PolicyRegistry) -> None:
    settings = TrialSettings("reach", str(registry.folder))
    for workers in (0, 1):
        with pytest.raises(TrialError, match="there is no policy '000009'"):
            run_trials([Trial(0, SEEDS[0], "000009")], settings, workers=workers)
    with pytest.raises(TrialError, match="unknown task 'fly'"):
        run_trials([Trial(0, SEEDS[0], "000001")], TrialSettings("fly", str(registry.folder)), workers=1)
    with pytest.raises(Cancelled):
        run_trials([Trial(0, SEEDS[0], "000001")], settings, workers=1, cancelled=lambda: True)


def test_without_ray_there_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TrialError, match=r"needs Ray, which is not installed: pip install 'physai_ros\[cluster\]'"):
        with trial_crew(None, "auto"):
            pass


def test_a_machine_that_would_give_other_results_gives_none(tmp_path: Path) -> None:
    settings, trial = (
        TrialSettings("reach").to_json(),
        json.dumps(asdict(Trial(0, SEEDS[0], "", int(Purpose.DEMONSTRATE)))),
    )
    strange = TrialServer(versions() | {"mujoco": "2.0"}, str(tmp_path)).answer(settings, trial)
    assert "results would differ" in json.loads(strange)["error"]
    elsewhere = TrialServer(versions(), str(tmp_path / "none")).answer(settings, trial)
    assert "No such file or directory" in json.loads(elsewhere)["error"]
