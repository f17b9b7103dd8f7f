"""Learning health: not started, learning, stuck or broken, from what the episodes say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from physai_ros.experience.episode import Purpose
from physai_ros.feedback.broken import find_broken
from physai_ros.feedback.collector import EpisodeFeedbackRecord, Share

LEAST_EPISODES = 10
WINDOW = 20
SIGNIFICANT = 0.1  # one-sided; a hint for a person, no verdict on a policy
BROKEN = 0.01
MASTERED = 0.9  # share of successes without help from which there is little left to learn
LOST_SHARE = 0.2
LEAST_OFFERED = 2000  # samples before the trainer's figures say anything
LARGEST_GRADIENT, LEAST_GRADIENT, LEAST_SPREAD = 1e4, 1e-9, 1e-6


class HealthState(str, Enum):
    """State of the learning; values as in TrainingStatus.msg."""

    NOT_STARTED = "not_started"
    LEARNING = "learning"
    STUCK = "stuck"
    BROKEN = "broken"


@dataclass(frozen=True)
class LearningHealth:
    """A state, the evidence for it in words, and what to try."""

    state: HealthState
    evidence: str
    advice: str = ""


@dataclass(frozen=True)
class TrainingFigures:
    """What the trainer says of itself; NaN where it does not.

    `loss`; `activation_rate` of the gate beside its `target_rate`; `gradient_norm`; `value_spread`, the standard
    deviation of the value head over a batch; `offered` samples since start.
    """

    loss: float = float("nan")
    activation_rate: float = float("nan")
    target_rate: float = float("nan")
    gradient_norm: float = float("nan")
    value_spread: float = float("nan")
    offered: int = 0


def assess_health(
    records: Sequence[EpisodeFeedbackRecord], window: int = WINDOW, training: TrainingFigures | None = None
) -> LearningHealth:
    """Health of the learning, from feedback in the order of the episodes and from the trainer's own figures.

    What is broken (`find_broken`) is named before any trend, from episodes of every purpose.

    Of the trend, training episodes alone count. A success is one without help: an episode that an operator saved is
    none. The last `window` episodes are compared with the first as many, success by Fisher's exact test, time under an
    operator by that of Mann and Whitney.
    """
    findings = find_broken(records)
    if findings:
        evidence = "; ".join(finding.evidence for finding in findings)
        return LearningHealth(HealthState.BROKEN, evidence, findings[0].advice)
    trouble = _training_trouble(training) if training is not None else None
    if trouble is not None:
        return trouble
    trained = [record for record in records if record.purpose == Purpose.TRAIN]
    if len(trained) < LEAST_EPISODES:
        return LearningHealth(
            HealthState.NOT_STARTED, f"{len(trained)} training episodes, {LEAST_EPISODES} are needed", "let it work"
        )
    size = min(window, len(trained) // 2)
    early, late = trained[:size], trained[-size:]
    samples = sum(r.samples for r in late)
    lost = sum(r.lost_samples for r in late)
    if not samples or lost / (samples + lost) > LOST_SHARE:
        return LearningHealth(
            HealthState.BROKEN,
            f"{lost} samples lost beside {samples} kept",
            "look for an overloaded CPU or a dead node",
        )
    if sum(not r.complete for r in late) > size / 2:
        return LearningHealth(
            HealthState.BROKEN, "most recordings were cut off", "see why feedback_collector restarts, in its log"
        )
    return _trend(early, late)


def _training_trouble(training: TrainingFigures) -> LearningHealth | None:
    """What is broken or stuck in the trainer itself."""
    if math.isinf(training.loss) or math.isinf(training.gradient_norm) or training.gradient_norm > LARGEST_GRADIENT:
        evidence = f"training has diverged: loss {training.loss:.3g}, gradient {training.gradient_norm:.3g}"
        return LearningHealth(HealthState.BROKEN, evidence, "lower the learning rate; look for samples that are absurd")
    if training.offered < LEAST_OFFERED:
        return None
    if training.activation_rate == 0.0:
        evidence = f"the gate lets nothing through of {training.offered} samples offered"
        return LearningHealth(HealthState.BROKEN, evidence, "train with the uniform sampler and look at the scores")
    if training.gradient_norm < LEAST_GRADIENT:
        evidence = f"the gradient is {training.gradient_norm:.1g}: nothing is learned any more"
        return LearningHealth(HealthState.STUCK, evidence, "add episodes where it fails, or raise the learning rate")
    if training.value_spread < LEAST_SPREAD:
        evidence = f"the value of all states is the same (spread {training.value_spread:.1g})"
        return LearningHealth(HealthState.STUCK, evidence, "see that there are both successes and failures in replay")
    return None


def _trend(early: list[EpisodeFeedbackRecord], late: list[EpisodeFeedbackRecord]) -> LearningHealth:
    from scipy.stats import fisher_exact, mannwhitneyu  # two seconds of import that the trainer's node starts without

    size = len(late)
    before, after = (Share.of(sum(_unaided(r) for r in part), size) for part in (early, late))
    table = [[after.count, size - after.count], [before.count, size - before.count]]
    evidence = f"unaided success {before.count}/{size} then {after.count}/{size}"
    if fisher_exact(table, "less").pvalue < BROKEN:
        return LearningHealth(
            HealthState.BROKEN,
            f"{evidence}: it has got worse",
            "roll the policy back; check cameras, joint order and the success test",
        )
    if size >= WINDOW // 2 and after.count >= MASTERED * size:
        return LearningHealth(HealthState.LEARNING, f"{evidence}: there is little left to learn")
    if fisher_exact(table, "greater").pvalue < SIGNIFICANT:
        return LearningHealth(HealthState.LEARNING, evidence)
    hours = [[r.intervention_seconds for r in part] for part in (late, early)]
    if any(hours[1]) and mannwhitneyu(*hours, alternative="less").pvalue < SIGNIFICANT:
        return LearningHealth(
            HealthState.LEARNING, f"{evidence}; {sum(hours[1]):.0f} s under an operator then {sum(hours[0]):.0f} s"
        )
    if size < WINDOW // 2:
        return LearningHealth(HealthState.NOT_STARTED, f"{evidence}: too few to tell", "let it work")
    return LearningHealth(
        HealthState.STUCK, f"{evidence}: no trend", "intervene more, or add demonstrations where it fails"
    )


def _unaided(record: EpisodeFeedbackRecord) -> bool:
    return record.success and record.interventions == 0
