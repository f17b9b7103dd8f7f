"""What a success detector says of judged episodes, beside what people and the task's own test say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physai_ros.experience.annotations import DETECTED, DETECTOR_STAGE, LABEL_STAGE, TESTED, Label
from physai_ros.experience.store import EpisodeStore
from physai_ros.experience.summary import EpisodeSummary
from physai_ros.feedback.collector import Share
from physai_ros.feedback.glances import Glances
from physai_ros.feedback.success_detector import SuccessDetector, Verdict
from physai_ros.tasks.task import Task


@dataclass(frozen=True)
class Judged:
    """One episode: the `verdict`, the `truth` where somebody judged it, what the task's `test` said if it did.

    `lead` [s] is how long before the end the verdict was given, `early` that success cannot have shown by then;
    `unseen` tells whether the detector was not trained on it.
    """

    episode_id: str
    verdict: Verdict
    truth: bool | None
    test: bool | None
    lead: float
    early: bool
    unseen: bool

    @classmethod
    def of(
        cls,
        detector: SuccessDetector,
        episode_id: str,
        glances: Glances,
        truth: bool | None,
        test: bool | None,
        logits: np.ndarray | None = None,
    ) -> Judged:
        """What a detector says of an episode of which this was seen; `logits` (n, folds) where they are known."""
        logits = detector.logits(glances) if logits is None else logits
        verdict = detector.verdict(glances.stamps, logits, episode_id)
        lead = float(glances.stamps[-1]) - verdict.stamp if len(glances) else float("nan")
        early = bool(lead > detector.doubt)
        return cls(episode_id, verdict, truth, test, lead, early, episode_id not in detector.fold_of)

    @property
    def finding(self) -> str:
        """`false success`, `missed`, `premature`, `right`; `unjudged` where nobody said how it went."""
        if self.truth is None:
            return "unjudged"
        if self.verdict.success != self.truth:
            return "false success" if self.verdict.success else "missed"
        return "premature" if self.truth and self.early else "right"

    def row(self) -> dict[str, object]:
        """As plain values, for tables and files."""
        return {
            "episode": self.episode_id,
            "finding": self.finding,
            "verdict": self.verdict.success,
            "p_value": round(self.verdict.p_value, 4),
            "truth": self.truth,
            "test": self.test,
            "lead": round(self.lead, 3),
            "unseen": self.unseen,
        }


@dataclass(frozen=True)
class Audit:
    """How often a detector is wrong, each share with its exact 95 % interval (Clopper and Pearson).

    `false_success` of the failed episodes, `missed` and `premature` of the successes, `against_test` of the episodes
    that the task's own test judged.
    """

    false_success: Share
    missed: Share
    premature: Share
    against_test: Share

    @classmethod
    def of(cls, rows: Sequence[Judged]) -> Audit:
        """Audit of episodes."""
        failed = [row for row in rows if row.truth is False]
        won = [row for row in rows if row.truth is True]
        tested = [row for row in rows if row.test is not None]
        return cls(
            Share.of(sum(row.finding == "false success" for row in failed), len(failed), "exact"),
            Share.of(sum(row.finding == "missed" for row in won), len(won), "exact"),
            Share.of(sum(row.finding == "premature" for row in won), len(won), "exact"),
            Share.of(sum(row.verdict.success != row.test for row in tested), len(tested), "exact"),
        )

    def figures(self) -> dict[str, float]:
        """Flat figures, for the file of a command."""
        shares = {name: getattr(self, name) for name in ("false_success", "missed", "premature", "against_test")}
        return {
            f"{name}{part}": value
            for name, share in shares.items()
            for part, value in (
                ("", share.rate),
                ("_lower", share.lower),
                ("_upper", share.upper),
                ("_count", share.count),
                ("_of", share.episodes),
            )
        }


def judge_stored(
    detector: SuccessDetector, store: EpisodeStore, episode_id: str, task: Task, *, trust_test: bool = False
) -> Judged:
    """What a detector says of an episode of a store; `trust_test` takes the test's word where no person judged it.

    Raises:
        ValueError: the episode is of another task, or has no pictures of the detector's cameras.
        StoreError: it cannot be read.
    """
    episode, summary = store.read(episode_id, pictures=True), store.summary(episode_id)
    truth = truth_of(store.annotations.of(episode_id).label, summary, trust_test=trust_test)
    return Judged.of(detector, episode_id, detector.outlook.glances(episode, task), truth, test_of(summary))


def truth_of(label: Label | None, summary: EpisodeSummary, *, trust_test: bool = False) -> bool | None:
    """Whether an episode succeeded as a person said, else as the task's test did where it is trusted; None: unknown."""
    if label is not None and label.by_person:
        return label.success
    if summary.outcome.stage == LABEL_STAGE:
        return summary.outcome.success  # said while it ran
    return test_of(summary) if trust_test else None


def test_of(summary: EpisodeSummary) -> bool | None:
    """What the task's own test said of an episode; None where it had no say."""
    for name in (DETECTED, TESTED):
        if name in summary.metrics:
            return bool(summary.metrics[name])
    if "rejudged" in summary.metrics:
        return bool(summary.metrics["rejudged"])
    return None if summary.outcome.stage in (LABEL_STAGE, DETECTOR_STAGE) else summary.outcome.success
