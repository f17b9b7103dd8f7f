"""Evaluations without physics: resumed, ended early, broken down, and with everything that it takes to repeat them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from physai_ros.evaluation.breakdown import breakdown, hidden_losses
from physai_ros.evaluation.conditions import condition_of, stresses_of
from physai_ros.evaluation.journal import EvaluationJournal
from physai_ros.evaluation.parallel import TrialError
from physai_ros.evaluation.protocol import Evaluation, EvaluationRequest, evaluate
from physai_ros.evaluation.regression_set import FixedFailure, RegressionSet
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.evaluation.start_frames import StartFrames, mismatch, overlay
from physai_ros.evaluation.trials import Trial, TrialResult, TrialSettings, progress
from physai_ros.evaluation.verdict import compare_scores
from physai_ros.tasks.catalog import load_task

SETTINGS = TrialSettings("pick_place")


def outcome(trial: Trial, rates: dict[str, float]) -> TrialResult:
    """A made-up result, the same for the same trial."""
    chance = np.random.default_rng([trial.scenario_seed, len(trial.policy)]).random()
    success = bool(chance < rates[trial.policy])
    condition = condition_of(load_task("pick_place"), trial.scenario_seed).name
    mode = "none" if success else "timeout"
    return TrialResult(
        trial.index,
        trial.policy,
        trial.scenario_seed,
        success,
        mode,
        "",
        1.0,
        0.0,
        0,
        0.0,
        0,
        100,
        score=float(success),
        condition=condition,
    )


def runner(rates: dict[str, float], log: list[int], fail_at: int = -1) -> Callable[[list[Trial]], list[TrialResult]]:
    """Runs trials, notes their indices, and breaks down at the one of this number."""

    def run(trials: list[Trial]) -> list[TrialResult]:
        if len(log) == fail_at:
            raise TrialError("the power went")
        log.extend(trial.index for trial in trials)
        return [outcome(trial, rates) for trial in trials]

    return run


RATES = {"new": 0.8, "old!": 0.5}
REQUEST = EvaluationRequest("new", "pick_place", "old!", episodes=12)


def run(request: EvaluationRequest = REQUEST, journal: Path | None = None, **options: object) -> Evaluation:
    rates = options.pop("rates", RATES)
    return evaluate(request, SETTINGS, run=runner(rates, options.pop("log", []), **options), journal=journal)


@given(stops=st.lists(st.integers(0, 9), max_size=4), cut=st.integers(0, 40))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_often_it_was_killed_nothing_is_lost_or_counted_twice(
    tmp_path: Path, stops: list[int], cut: int
) -> None:
    whole = run()
    journal = tmp_path / "journal"
    journal.unlink(missing_ok=True)
    log: list[int] = []
    for stop in stops:
        before = len(log)
        with pytest.raises(TrialError):
            run(journal=journal, log=log, fail_at=before + min(stop, 24 - before - 1))
        if journal.exists() and cut:
            # Killed while a line was written: what it says is not whole, and is run again.
            kept = journal.read_bytes()
            with journal.open("ab") as file:
                file.write(kept.splitlines()[-1][:cut] if kept else b"{")
    again = run(journal=journal, log=log)
    assert sorted(log) == list(range(24))
    assert (again.rows(), again.figures()["gain"]) == (whole.rows(), whole.figures()["gain"])
    assert run(journal=journal, log=log).rows() == whole.rows()
    assert len(log) == 24


def test_a_journal_is_of_one_evaluation_and_one_process(tmp_path: Path) -> None:
    run(journal=tmp_path / "journal")
    other = EvaluationRequest("new", "pick_place", "old!", episodes=13)
    with pytest.raises(ValueError, match="is of another evaluation: its request is"):
        run(other, tmp_path / "journal")
    with EvaluationJournal(tmp_path / "held", {}), pytest.raises(ValueError, match="written by another process"):
        EvaluationJournal(tmp_path / "held", {})
    for text in ("hello", "hello\n", '{"evaluation": \n'):
        (tmp_path / "foreign").write_text(text)
        with pytest.raises(ValueError, match="no journal of an evaluation"):
            EvaluationJournal(tmp_path / "foreign", {})
        assert (tmp_path / "foreign").read_text() == text


def test_early_stop_looks_at_pairs_in_their_order_whoever_is_quicker() -> None:
    request = EvaluationRequest("new", "pick_place", "old!", episodes=60, stop_early=True)
    rates = {"new": 0.95, "old!": 0.3}
    done = run(request, rates=rates)
    assert done.verdict == "better"
    assert len(done.results) == len(done.baseline) < 30

    class Hasty:
        """Hands in results in another order, and some that nobody needs any more."""

        def run(self, trials, settings, *, on_result, cancelled, enough) -> None:
            trials = list(trials)
            while trials and not enough():
                batch, trials = trials[:8], trials[8:]
                for trial in reversed(batch):
                    on_result(outcome(trial, rates))

    hasty = evaluate(request, SETTINGS, crew=Hasty())
    assert hasty.rows() == done.rows()
    assert hasty.unused > 0
    assert hasty.verdict == "better"
    equal = run(
        EvaluationRequest("new", "pick_place", "old!", episodes=30, stop_early=True), rates={"new": 0.5, "old!": 0.5}
    )
    assert equal.verdict in ("not_enough_trials", "no_difference")


def test_both_policies_meet_the_same_scenes_in_a_shuffled_order() -> None:
    log: list[int] = []
    done = run(log=log)
    assert log != sorted(log)
    assert [r.scenario_seed for r in done.results] == [r.scenario_seed for r in done.baseline]
    again: list[int] = []
    run(log=again)
    assert again == log
    robot: list[int] = []
    run(EvaluationRequest("new", "pick_place", "old!", episodes=12, backend="robot"), log=robot)
    assert [index // 2 for index in robot[::2]] == [index // 2 for index in robot[1::2]] == list(range(12))
    assert {tuple(robot[i : i + 2]) for i in range(0, 24, 2)} != {(2 * i, 2 * i + 1) for i in range(12)}
    assert json.loads(json.dumps(done.subject))["request"]["episodes"] == 12


def test_a_gain_that_hides_a_loss_is_seen() -> None:
    request = EvaluationRequest("new", "pick_place", "old!", "stress", episodes=80)

    def biased(trials: list[Trial]) -> list[TrialResult]:
        results = []
        for trial in trials:
            condition = condition_of(load_task("pick_place"), trial.scenario_seed).name
            wins = (trial.policy == "new") != (condition == "push")
            results.append(outcome(trial, {trial.policy: 1.0 if wins else 0.0}))
        return results

    done = evaluate(request, SETTINGS, run=biased)
    assert done.verdict == "better"
    groups = {group.name: group for group in done.groups}
    assert {"latency", "noise", "occlusion", "push"} <= set(groups)
    assert groups["push"].hidden_loss
    assert not groups["noise"].hidden_loss
    assert "push: -100 points in 20" in hidden_losses(done.groups)
    assert any("cube_x" in name for name in groups)
    alone = breakdown({"some": np.arange(5)}, done.results)
    assert alone[0].success_against != alone[0].success_against  # NaN: nobody to compare with


def test_conditions_follow_from_the_seed() -> None:
    pick_place, reach = load_task("pick_place"), load_task("reach")
    seeds = scenario_seeds("stress", 0, 8)
    assert [condition_of(pick_place, s).name for s in seeds] == list(stresses_of(pick_place)) * 2
    assert "occlusion" not in stresses_of(reach)
    for seed in seeds:
        assert condition_of(pick_place, seed) == condition_of(pick_place, seed)
    push = next(condition_of(pick_place, s) for s in seeds if condition_of(pick_place, s).pushes)
    start, force = push.pushes[0].start, np.array(push.pushes[0].force)
    assert np.linalg.norm(push.force_at(start)) == pytest.approx(np.linalg.norm(force))
    assert push.force_at(start - 0.01) == (0, 0)
    assert np.linalg.norm(force) < pick_place.force_budget
    hidden = next(condition_of(pick_place, s) for s in seeds if condition_of(pick_place, s).occlusions)
    assert not hidden.sees_objects(hidden.occlusions[0][0])
    randomized = condition_of(pick_place, scenario_seeds("randomized", 0, 1)[0])
    assert randomized.physics["joint_friction"] != 0.2
    assert condition_of(pick_place, scenario_seeds("nominal", 0, 1)[0]).physics == {}


def test_failures_that_were_fixed_are_run_again(tmp_path: Path) -> None:
    known = RegressionSet(tmp_path)
    request = EvaluationRequest("new", "pick_place", scenario_set="regression", episodes=10)
    own = TrialSettings("pick_place", str(tmp_path))
    with pytest.raises(ValueError, match="no failure of pick_place was fixed yet"):
        evaluate(request, own, run=runner(RATES, []))
    seeds = scenario_seeds("promotion", 0, 3)
    entry = FixedFailure("pick_place", seeds[0], "old!", "drop", "new", "a test", physics={"object_friction": 0.7})
    scenario = scenario_of(load_task("pick_place"), 7).to_json()
    by_hand = FixedFailure("pick_place", 7, "old!", "timeout", "new", "episode 3", scenario)
    assert known.add([entry, entry, by_hand]) == 2
    assert known.add([entry]) == 0
    assert RegressionSet(tmp_path).entries("pick_place") == (entry, by_hand)
    assert known.entries("reach") == ()
    seen: list[Trial] = []

    def note(trials: list[Trial]) -> list[TrialResult]:
        seen.extend(trials)
        return [outcome(trial, RATES) for trial in trials]

    done = evaluate(request, own, run=note)
    assert len(done.results) == 2
    assert {(t.scenario_seed, t.scenario_json, t.physics.get("object_friction")) for t in seen} == {
        (seeds[0], "", 0.7),
        (7, scenario, None),
    }
    known.path.write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        known.entries()


def test_partial_credit_is_compared_in_pairs() -> None:
    generator = np.random.default_rng(0)
    current = generator.uniform(0.0, 0.7, 40)
    found = compare_scores(np.clip(current + 0.2, 0, 1), current)
    assert found.gain == pytest.approx(0.2)
    assert found.gain_lower <= 0.2 <= found.gain_upper
    assert found.p_value < 0.001
    assert compare_scores([0.3], [0.3]).p_value == 1.0
    # Three pairs, all for the candidate: the smallest two-sided p that there is, 2 / 2**3.
    assert compare_scores([0.5, 0.6, 0.7], [0.1, 0.1, 0.1]).p_value == pytest.approx(0.25)
    assert (progress(1.0, 0.25, success=False), progress(1.0, 2.0, success=False)) == (0.75, 0.0)
    assert progress(float("nan"), 1.0, success=True) == 1.0


def test_an_overlay_shows_where_things_were(tmp_path: Path) -> None:
    frames = StartFrames(tmp_path)
    before, now = np.full((60, 80, 3), 200, np.uint8), np.full((60, 80, 3), 200, np.uint8)
    before[20:40, 10:30] = 20
    now[20:40, 40:60] = 20
    assert frames.reference("a") is None
    frames.keep("a", before)
    frames.keep("a", now)  # the first one stays
    np.testing.assert_array_equal(frames.reference("a"), before)
    shown = overlay(before, now)
    assert shown.shape == now.shape
    assert (shown == (255, 64, 64)).all(axis=2).any()
    assert mismatch(before, before) == 0.0 < mismatch(before, now)
