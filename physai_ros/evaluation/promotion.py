"""Which policy may drive: a candidate earns it, a version that then fails loses it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from scipy import stats

from physai_ros.evaluation.parallel import TrialCrew
from physai_ros.evaluation.protocol import Evaluation, EvaluationRequest, compared, evaluate
from physai_ros.evaluation.shadow import ShadowReport, recorded_observations, shadow_run
from physai_ros.evaluation.trials import TrialResult, TrialSettings
from physai_ros.experience.store import EpisodeStore, StoreError
from physai_ros.policy.observation import ObservationEncoder
from physai_ros.policy.registry import Activation, PolicyFileError, PolicyRegistry
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task


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
    """

    mode: str = "not_worse"
    margin: float = 0.1
    episodes: int = 20
    most_episodes: int = 60
    seed: int = 0
    shadow_observations: int = 300

    def __post_init__(self) -> None:
        if self.mode not in ("better", "not_worse"):
            raise ValueError(f"promotion mode is '{self.mode}'; expected better or not_worse")
        if not 0.0 < self.margin < 1.0 or not 1 <= self.episodes <= self.most_episodes:
            raise ValueError(f"{self}: expected 0 < margin < 1 and 1 <= episodes <= most_episodes")

    @property
    def accepted(self) -> tuple[str, ...]:
        """Verdicts that promote."""
        return ("better",) if self.mode == "better" else ("better", "not_worse")


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
) -> PromotionResult:
    """Whether a candidate may replace the active version; changes nothing.

    Shadow run on the store `recordings` (empty: none), then paired trials on promotion scenarios that no candidate of
    another version has been tested on. Looking again after more trials costs little: the first look decides alone if it
    can, and there are few looks.

    Raises:
        TrialError, Cancelled: as `evaluate`.
    """
    current = registry.current()[0]
    try:
        policy = registry.load(candidate)
    except PolicyFileError as error:
        return PromotionResult(candidate, current, False, "refused", str(error))
    shadow = _shadow(policy, settings, recordings, rule.shadow_observations)
    if shadow is not None and shadow.problem:
        return PromotionResult(candidate, current, False, "refused", shadow.problem, shadow)
    if not current:
        return PromotionResult(candidate, current, True, "initial", "no policy was active", shadow)
    if candidate == current:
        return PromotionResult(candidate, current, False, "no_difference", "it is the active version", shadow)
    request = EvaluationRequest(
        candidate, settings.task, current, "promotion", rule.episodes, seed=rule.seed, margin=rule.margin
    )
    # Every candidate gets scenarios of its own, so that none is picked for having suited a set.
    first = int(candidate) * rule.most_episodes
    evaluation = None
    while evaluation is None or (
        evaluation.verdict == "not_enough_trials" and len(evaluation.results) < rule.most_episodes
    ):
        done = 0 if evaluation is None else len(evaluation.results)
        count = min(rule.episodes, rule.most_episodes - done)
        more = evaluate(
            replace(request, episodes=count, start=first + done),
            settings,
            workers=workers,
            niceness=niceness,
            crew=crew,
            on_result=on_result,
            cancelled=cancelled,
        )
        evaluation = more if evaluation is None else _joined(evaluation, more)
    verdict = evaluation.verdict
    comparison = evaluation.comparison
    reason = (
        f"{sum(r.success for r in evaluation.results)} of {len(evaluation.results)} against "
        f"{sum(r.success for r in evaluation.baseline)} of {len(evaluation.baseline)} on the same scenarios, gain "
        f"{100 * comparison.gain:+.0f} points ({100 * comparison.gain_lower:+.0f} to "
        f"{100 * comparison.gain_upper:+.0f})"
    )
    return PromotionResult(candidate, current, verdict in rule.accepted, verdict, reason, shadow, evaluation)


def promote(registry: PolicyRegistry, result: PromotionResult) -> PromotionResult:
    """The result with its activation, after a candidate that passed was made the active version.

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
    activation = registry.activate(result.candidate, verdict=result.verdict, reason=result.reason)
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


def rollback_reason(
    since: Sequence[bool], before: Sequence[bool], *, fewest: int = 8, drop: float = 0.25, alpha: float = 0.02
) -> str:
    """Why a promoted version should be rolled back, empty while nothing speaks for it.

    `since` and `before` are successes without help in training episodes under the promoted version and under the one
    before it, newest last. It takes `fewest` episodes of each, a fall of at least `drop` in success, and Fisher's exact
    test to reject chance at `alpha`, one-sided; both, since it is looked at after every episode.
    """
    recent, reference = list(since)[-30:], list(before)[-30:]
    if min(len(recent), len(reference)) < fewest:
        return ""
    rate_now, rate_before = sum(recent) / len(recent), sum(reference) / len(reference)
    if rate_before - rate_now < drop:
        return ""
    table = [[sum(recent), len(recent) - sum(recent)], [sum(reference), len(reference) - sum(reference)]]
    p_value = float(stats.fisher_exact(table, alternative="less").pvalue)
    if p_value > alpha:
        return ""
    return (
        f"{sum(recent)} of {len(recent)} training episodes succeeded since the promotion, {sum(reference)} of "
        f"{len(reference)} before it (Fisher's exact test, p = {p_value:.2g})"
    )


def _joined(first: Evaluation, more: Evaluation) -> Evaluation:
    results, baseline = (*first.results, *more.results), (*first.baseline, *more.baseline)
    return replace(
        first,
        request=replace(first.request, episodes=len(results)),
        results=results,
        baseline=baseline,
        comparison=compared(results, baseline, first.request.margin),
        wall_seconds=first.wall_seconds + more.wall_seconds,
    )


def _shadow(policy: object, settings: TrialSettings, recordings: str, limit: int) -> ShadowReport | None:
    """Shadow run on the newest recordings of the task; None where there are none."""
    if not recordings:
        return None
    try:
        store = EpisodeStore(recordings, create=False)
        episodes = [store.read(name) for name in store.ids()[-10:]]
    except StoreError:
        return None
    task = load_task(settings.task)
    kinematics = Kinematics(RobotSpec.load(settings.robot))
    encoder = ObservationEncoder(kinematics, task.features, task.action_axes, task.action_scale)
    own = [episode for episode in reversed(episodes) if episode.context.task == task.name and len(episode)]
    observations, done = recorded_observations(own, encoder, limit)
    return shadow_run(policy, observations, done) if len(observations) else None
