"""Which policy may drive: a candidate earns it, a version that then fails loses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from physai_ros.evaluation.breakdown import hidden_losses
from physai_ros.evaluation.parallel import TrialCrew
from physai_ros.evaluation.protocol import Evaluation, EvaluationRequest, compared, evaluate, grouped, planned_pairs
from physai_ros.evaluation.recorded_checks import recorded_episodes, replay_on, shadow_on
from physai_ros.evaluation.regression_set import FixedFailure, RegressionSet
from physai_ros.evaluation.rollout_watch import rollback_reason
from physai_ros.evaluation.safety_replay import ReplayReport
from physai_ros.evaluation.shadow import ShadowReport
from physai_ros.evaluation.trials import TrialResult, TrialSettings
from physai_ros.policy.registry import Activation, PolicyFileError, PolicyRegistry

__all__ = ["PromotionResult", "PromotionRule", "judge_candidate", "promote", "rollback", "rollback_reason"]

TESTS = ("looks", "sequential")


@dataclass(frozen=True)
class PromotionRule:
    """What a candidate must show.

    Attributes:
        mode: `better` asks for a win beyond chance; `not_worse` for a bound of the loss within `margin`.
        margin: loss in success rate that is still `not_worse`, 0-1.
        episodes: paired scenarios to begin with.
        most_episodes: while the verdict is `not_enough_trials`, as many again are run up to this many.
        seed: of the promotion scenarios.
        shadow_observations: recorded observations for the shadow run.
        test: `looks` tests at a few sizes, each look at its own level; `sequential` looks after every pair of up to
            `most_episodes`, and over all looks together promotes wrongly with probability at most 5 %.
        replay_states: recorded states for the safety replay; 0: none.
        regression: newest failures that were once fixed to run again; 0: none. Their scenarios were picked because the
            version of then solved them, so even an equal candidate solves fewer: they are a floor, no comparison.
        regression_floor: share of them that must be solved.
        stages: share of full speed, and for how many training episodes without an alarm, before full speed.
    """

    mode: str = "not_worse"
    margin: float = 0.1
    episodes: int = 20
    most_episodes: int = 60
    seed: int = 0
    shadow_observations: int = 300
    test: str = "looks"
    replay_states: int = 30
    regression: int = 0
    regression_floor: float = 0.7
    stages: tuple[tuple[float, int], ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in ("better", "not_worse"):
            raise ValueError(f"promotion mode is '{self.mode}'; expected better or not_worse")
        if not 0.0 < self.margin < 1.0 or not 1 <= self.episodes <= self.most_episodes:
            raise ValueError(f"{self}: expected 0 < margin < 1 and 1 <= episodes <= most_episodes")
        if self.test not in TESTS:
            raise ValueError(f"test of a promotion is '{self.test}'; expected {' or '.join(TESTS)}")
        if any(not 0.0 < speed < 1.0 or episodes < 1 for speed, episodes in self.stages):
            raise ValueError(f"stages are {self.stages}; expected a speed from 0 to 1 and at least one episode each")

    @property
    def accepted(self) -> tuple[str, ...]:
        """Verdicts that promote."""
        return ("better",) if self.mode == "better" else ("better", "not_worse")

    def stage_after(self, speed: float) -> tuple[float, int]:
        """Speed and number of episodes of the stage that follows one at `speed`; the last, at full speed, has no end.

        A version that has just been promoted comes from speed 0.
        """
        if speed <= 0.0:
            return self.stages[0] if self.stages else (1.0, 0)
        place = next((i for i, (own, _) in enumerate(self.stages) if own == speed), len(self.stages) - 1)
        return self.stages[place + 1] if place + 1 < len(self.stages) else (1.0, 0)

    def episodes_at(self, speed: float) -> int:
        """Episodes that the stage at `speed` lasts; 0 where there is no such stage."""
        return next((episodes for own, episodes in self.stages if own == speed), 0)


@dataclass(frozen=True)
class PromotionResult:
    """What became of a candidate: `promoted`, the `verdict` and the reason in words, with the evidence."""

    candidate: str
    current: str
    promoted: bool
    verdict: str
    reason: str
    shadow: ShadowReport | None = None
    evaluation: Evaluation | None = None
    activation: Activation | None = None
    replay: ReplayReport | None = None
    regression: Evaluation | None = None


def judge_candidate(
    registry: PolicyRegistry,
    candidate: str,
    settings: TrialSettings,
    rule: PromotionRule,
    *,
    recordings: str = "",
    workers: int = 0,
    niceness: int = 0,
    crew: TrialCrew | None = None,
    on_result: Callable[[TrialResult], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    journals: Path | None = None,
) -> PromotionResult:
    """Whether a candidate may replace the active version; changes nothing.

    Shadow run and safety replay on the store `recordings` (empty: none), then paired trials on promotion scenarios that
    no candidate of another version has been tested on, then failures that were once fixed. A gain that hides a loss
    under some condition or from some starts does not promote. `journals` is a folder that keeps every finished episode,
    so that a test that was killed goes on where it was.

    Raises:
        TrialError, Cancelled: as `evaluate`.
    """
    current = registry.current()[0]
    try:
        policy = registry.load(candidate)
    except PolicyFileError as error:
        return PromotionResult(candidate, current, False, "refused", str(error))
    recorded = recorded_episodes(settings, recordings)
    shadow = shadow_on(recorded, policy, settings, rule.shadow_observations)
    if shadow is not None and shadow.problem:
        return PromotionResult(candidate, current, False, "refused", shadow.problem, shadow)
    replay = replay_on(recorded, registry, policy, current, settings, rule.replay_states)
    if replay is not None and replay.problem:
        return PromotionResult(candidate, current, False, "refused", replay.problem, shadow, replay=replay)
    result = PromotionResult(candidate, current, False, "", "", shadow, replay=replay)
    if not current:
        return replace(result, promoted=True, verdict="initial", reason="no policy was active")
    if candidate == current:
        return replace(result, verdict="no_difference", reason="it is the active version")

    def run(request: EvaluationRequest, part: str) -> Evaluation:
        return evaluate(
            request,
            settings,
            workers=workers,
            niceness=niceness,
            crew=crew,
            on_result=on_result,
            cancelled=cancelled,
            journal=journals / f"promotion-{candidate}-{part}.journal" if journals is not None else None,
        )

    # Every candidate gets scenarios of its own, so that none is picked for having suited a set.
    request = EvaluationRequest(
        candidate,
        settings.task,
        current,
        "promotion",
        rule.episodes,
        seed=rule.seed,
        margin=rule.margin,
        start=int(candidate) * rule.most_episodes,
    )
    evaluation = _tested(request, settings, rule, run)
    result = replace(
        result,
        evaluation=evaluation,
        promoted=evaluation.verdict in rule.accepted,
        verdict=evaluation.verdict,
        reason=_in_words(evaluation),
    )
    hidden = hidden_losses(evaluation.groups)
    if result.promoted and hidden:
        return replace(result, promoted=False, reason=f"{result.reason}; it hides a loss, {hidden}")
    return _regressed(registry, result, rule, run) if result.promoted and rule.regression else result


def promote(registry: PolicyRegistry, result: PromotionResult, speed: float = 1.0) -> PromotionResult:
    """The result with its activation, after a candidate that passed was made the active version, at first at `speed`.

    The scenarios that it solved and the version before it failed become part of the regression set.

    Raises:
        ValueError: it did not pass, or another version became active since it was tested.
    """
    if not result.promoted:
        raise ValueError(f"policy {result.candidate} has not earned promotion: {result.verdict}, {result.reason}")
    now = registry.current()[0]
    if now != result.current:
        raise ValueError(
            f"policy {result.candidate} was tested against {result.current}, but {now} is active: test again"
        )
    activation = registry.activate(result.candidate, verdict=result.verdict, reason=result.reason, speed=speed)
    if result.evaluation is not None:
        RegressionSet(registry.folder).add(_fixed(result.evaluation))
    return replace(result, activation=activation)


def rollback(registry: PolicyRegistry, version: str = "", reason: str = "asked for") -> Activation:
    """The new activation after returning to `version`, or to the one before the active one.

    Raises:
        PolicyFileError: there is nothing to return to, or it cannot be used; the active version stays.
    """
    activation = registry.activation()
    target = version or activation.previous
    if not target:
        raise PolicyFileError(f"policy {activation.version or 'none'} has no version before it; name one to return to")
    if target == activation.version:
        raise PolicyFileError(f"policy {target} is the active version already; name another")
    return registry.activate(target, verdict="rollback", reason=reason)


def _tested(
    request: EvaluationRequest,
    settings: TrialSettings,
    rule: PromotionRule,
    run: Callable[[EvaluationRequest, str], Evaluation],
) -> Evaluation:
    """The paired trials of a candidate, as many as the rule's test asks for."""
    if rule.test == "sequential":
        margin = request.margin if rule.mode == "not_worse" else 0.0
        return run(replace(request, episodes=rule.most_episodes, margin=margin, stop_early=True), "sequential")
    evaluation = None
    while evaluation is None or (
        evaluation.verdict == "not_enough_trials" and len(evaluation.results) < rule.most_episodes
    ):
        done = 0 if evaluation is None else len(evaluation.results)
        count = min(rule.episodes, rule.most_episodes - done)
        more = run(replace(request, episodes=count, start=request.start + done), str(done))
        evaluation = more if evaluation is None else _joined(evaluation, more, settings)
    return evaluation


def _joined(first: Evaluation, more: Evaluation, settings: TrialSettings) -> Evaluation:
    results, baseline = (*first.results, *more.results), (*first.baseline, *more.baseline)
    request = replace(first.request, episodes=len(results))
    trials = [pair[0] for pair in planned_pairs(request, settings)]
    return replace(
        first,
        request=request,
        results=results,
        baseline=baseline,
        comparison=compared(results, baseline, first.request.margin),
        wall_seconds=first.wall_seconds + more.wall_seconds,
        subject={**first.subject, "request": dict(request.__dict__)},
        groups=grouped(request.task, trials, results, baseline),
        scores=None,
    )


def _in_words(evaluation: Evaluation) -> str:
    comparison = evaluation.comparison
    return (
        f"{sum(r.success for r in evaluation.results)} of {len(evaluation.results)} against "
        f"{sum(r.success for r in evaluation.baseline)} of {len(evaluation.baseline)} on the same scenarios, gain "
        f"{100 * comparison.gain:+.0f} points ({100 * comparison.gain_lower:+.0f} to "
        f"{100 * comparison.gain_upper:+.0f})"
    )


def _regressed(
    registry: PolicyRegistry,
    result: PromotionResult,
    rule: PromotionRule,
    run: Callable[[EvaluationRequest, str], Evaluation],
) -> PromotionResult:
    """The result after the newest failures that were once fixed; with too many of them back it is not promoted."""
    task = result.evaluation.request.task
    known = len(RegressionSet(registry.folder).entries(task))
    if not known:
        return result
    count = min(known, rule.regression)
    request = EvaluationRequest(
        result.candidate, task, scenario_set="regression", episodes=count, start=known - count, seed=rule.seed
    )
    again = run(request, "regression")
    solved = sum(r.success for r in again.results)
    reason = f"{result.reason}; {solved} of {count} failures that were once fixed stay so"
    promoted = solved >= rule.regression_floor * count
    return replace(result, promoted=promoted, reason=reason, regression=again)


def _fixed(evaluation: Evaluation) -> list[FixedFailure]:
    """What the current policy failed and the candidate solved."""
    request = evaluation.request
    return [
        FixedFailure(
            task=request.task,
            scenario_seed=after.scenario_seed,
            failed=before.policy,
            failure_mode=before.failure_mode,
            fixed=after.policy,
            source=f"promotion of {after.policy}",
            physics=dict(evaluation.physics),
        )
        for after, before in zip(evaluation.results, evaluation.baseline, strict=True)
        if after.success and not before.success
    ]
