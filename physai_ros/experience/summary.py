"""What is known of an episode without reading its samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from physai_ros.experience.episode import Episode, EpisodeContext, EpisodeOutcome, Phase, Purpose


@dataclass(frozen=True)
class EpisodeSummary:
    """Context, outcome and figures of one episode.

    `duration` is in [s]; `metrics`, `failure_mode` and its `confidence` are the feedback room's, empty where nobody
    judged the episode. `streams` says of every recorded topic how many `messages` are kept and how many were `lost`,
    where a live recording counted them.
    """

    context: EpisodeContext
    outcome: EpisodeOutcome
    samples: int = 0
    lost_samples: int = 0
    duration: float = 0.0
    complete: bool = True
    metrics: dict[str, float] = field(default_factory=dict)
    failure_mode: str = ""
    confidence: float = 0.0
    streams: dict[str, dict[str, int]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        episode: Episode,
        metrics: Mapping[str, float] | None = None,
        failure_mode: str = "",
        confidence: float = 0.0,
    ) -> EpisodeSummary:
        """Summary of an episode, with metrics and failure mode where somebody judged it."""
        return cls(
            context=episode.context,
            outcome=episode.outcome,
            samples=len(episode),
            lost_samples=episode.lost_samples,
            duration=episode.duration,
            complete=episode.complete,
            metrics=dict(metrics or {}),
            failure_mode=failure_mode,
            confidence=confidence,
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; `from_dict` gives the same summary back."""
        data = asdict(self)
        data["context"]["phase"] = int(self.context.phase)
        data["context"]["purpose"] = int(self.context.purpose)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EpisodeSummary:
        """Read what `to_dict` gave.

        Raises:
            ValueError: it is no summary.
        """
        try:
            context = dict(data["context"])
            context["phase"], context["purpose"] = Phase(context["phase"]), Purpose(context["purpose"])
            context["goal"] = tuple(context["goal"])
            return cls(
                **{**data, "context": EpisodeContext(**context), "outcome": EpisodeOutcome(**data["outcome"])},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not an episode's summary: {error}") from error
