"""`PhysicalFeedbackCollector`: from episodes to feedback records, kept on disk, with statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from physai_ros.experience.episode import Episode, Purpose
from physai_ros.experience.store import EpisodeStore, StoreError
from physai_ros.experience.summary import EpisodeSummary
from physai_ros.feedback.failure_modes import FailureVerdict, classify_failure
from physai_ros.feedback.metrics import EpisodeMetrics
from physai_ros.feedback.signals import signal_figures
from physai_ros.tasks.task import Task

DEFAULT_FORCE_BUDGET = 40.0  # [N], as tasks have it unless they say otherwise


@dataclass(frozen=True)
class EpisodeFeedbackRecord:
    """What an episode was worth; fields and units as in EpisodeFeedback.msg, `metrics` beside as in the summary."""

    episode_id: str
    purpose: Purpose
    task: str
    policy_version: str
    success: bool
    reward: float
    failure_mode: str
    confidence: float
    duration: float
    peak_force: float
    smoothness: float
    interventions: int
    intervention_seconds: float
    safety_stops: int
    samples: int
    lost_samples: int
    complete: bool
    path: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_summary(cls, summary: EpisodeSummary) -> EpisodeFeedbackRecord:
        """Record of an episode whose summary holds the metrics."""
        context, outcome, metrics = summary.context, summary.outcome, summary.metrics
        unknown = float("nan")
        return cls(
            episode_id=context.episode_id,
            purpose=context.purpose,
            task=context.task,
            policy_version=context.policy_version,
            success=outcome.success,
            reward=outcome.reward,
            failure_mode=summary.failure_mode or outcome.failure_mode,
            confidence=summary.confidence,
            duration=summary.duration,
            peak_force=metrics.get("peak_force", unknown),
            smoothness=metrics.get("smoothness", unknown),
            interventions=int(metrics.get("interventions", 0)),
            intervention_seconds=metrics.get("intervention_seconds", 0.0),
            safety_stops=int(metrics.get("safety_stops", 0)),
            samples=summary.samples,
            lost_samples=summary.lost_samples,
            complete=summary.complete,
            path=f"episodes/{context.episode_id}.mcap",
            metrics=dict(metrics),
        )


class Share(NamedTuple):
    """`count` of `episodes`, as a `rate` with the 95 % interval `lower` ... `upper`."""

    count: int
    episodes: int
    rate: float
    lower: float
    upper: float

    @classmethod
    def of(cls, count: int, episodes: int, method: str = "wilson") -> Share:
        """Share with its interval: `wilson`, or `exact` for Clopper and Pearson's, which is never too narrow.

        Sources: Wilson, JASA 22, 1927; Clopper and Pearson, Biometrika 26, 1934.
        """
        if method not in ("wilson", "exact"):
            raise ValueError(f"interval '{method}' is not known; known are wilson and exact")
        if episodes == 0:
            return cls(0, 0, float("nan"), 0.0, 1.0)
        from scipy.stats import binomtest  # two seconds of import that the recorder's node starts without

        interval = binomtest(count, episodes).proportion_ci(0.95, method)
        return cls(count, episodes, count / episodes, float(interval.low), float(interval.high))


class PhysicalFeedbackCollector:
    """Judges episodes, keeps them in a store if it has one, and counts.

    `force_budget` gives the tool force [N] that a task, by name, allows; `task` the task itself, where it is known, so
    that its test can judge the recorded states again.
    """

    def __init__(
        self,
        store: EpisodeStore | None = None,
        force_budget: Callable[[str], float] = lambda _: DEFAULT_FORCE_BUDGET,
        task: Callable[[str], Task | None] = lambda _: None,
    ) -> None:
        self.store = store
        self.records: list[EpisodeFeedbackRecord] = []
        self._force_budget = force_budget
        self._task = task

    def judge(self, episode: Episode) -> tuple[EpisodeMetrics, FailureVerdict]:
        """Metrics of an episode, and why it failed if it did."""
        budget = self._force_budget(episode.context.task)
        return EpisodeMetrics.of(episode, budget), classify_failure(episode, budget)

    def summarize(self, episode: Episode) -> EpisodeSummary:
        """Summary of an episode with everything that can be said of it."""
        metrics, verdict = self.judge(episode)
        figures = metrics.to_dict() | signal_figures(episode, self._task(episode.context.task))
        return EpisodeSummary.of(episode, figures, verdict.mode, verdict.confidence)

    def add(self, episode: Episode) -> EpisodeFeedbackRecord:
        """Record of an episode, which is durable in the store when this returns.

        Raises:
            StoreError: the store did not take it; then it is not counted either.
        """
        summary = self.summarize(episode)
        if self.store is not None:
            self.store.write(episode, summary)
        return self.count(summary)

    def count(self, summary: EpisodeSummary) -> EpisodeFeedbackRecord:
        """Record of an episode that is in the store already, added to the statistics."""
        record = EpisodeFeedbackRecord.from_summary(summary)
        self.records.append(record)
        return record

    def execute_and_evaluate(self, run: Callable[[], Episode]) -> EpisodeFeedbackRecord:
        """Run one episode, judge it and keep it."""
        return self.add(run())

    def load(self) -> int:
        """Count everything in the store that is not counted yet; returns how many episodes that were."""
        known = {record.episode_id for record in self.records}
        new = [s for i, s in self.store.summaries().items() if i not in known] if self.store is not None else []
        for summary in new:
            self.count(summary)
        return len(new)

    def statistics(self, by: str, method: str = "wilson") -> dict[str, Share]:
        """Success by `task` or `policy_version`, or the share of each `failure_mode` among all episodes, none dropped.

        Raises:
            ValueError: `by` or `method` is another word.
        """
        if by == "failure_mode":
            return {key: Share.of(len(rows), len(self.records), method) for key, rows in self._grouped(by).items()}
        if by not in ("task", "policy_version"):
            raise ValueError(f"statistics by '{by}' are not kept; choose task, policy_version or failure_mode")
        return {
            key: Share.of(sum(row.success for row in rows), len(rows), method)
            for key, rows in self._grouped(by).items()
        }

    def _grouped(self, by: str) -> dict[str, list[EpisodeFeedbackRecord]]:
        groups: dict[str, list[EpisodeFeedbackRecord]] = {}
        for record in _sorted_by(self.records, by):
            groups.setdefault(getattr(record, by), []).append(record)
        return groups


def with_metrics(record: EpisodeFeedbackRecord, folder: Path | str) -> EpisodeFeedbackRecord:
    """The record with the figures that the store in `folder` holds of its episode, where it does."""
    try:
        return replace(record, metrics=EpisodeStore(folder, create=False).summary(record.episode_id).metrics)
    except StoreError:
        return record


def _sorted_by(records: Iterable[EpisodeFeedbackRecord], by: str) -> list[EpisodeFeedbackRecord]:
    return sorted(records, key=lambda record: getattr(record, by))
