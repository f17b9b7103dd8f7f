"""What is said of an episode after it was recorded: a label on its outcome, a mark that keeps it.

People say it, or a success detector that learned from what they said; a person's word takes the place of a detector's.

One small JSON file an episode, beside the recordings, which are never changed.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from physai_ros.durable import replace_file
from physai_ros.experience.episode import EpisodeOutcome
from physai_ros.experience.summary import EpisodeSummary

LABEL_STAGE = "label"  # of a verdict that a person gave
DETECTOR_STAGE = "detector"  # of a verdict that a success detector gave
DETECTED = "detected_success"  # figure of an episode that a person labelled: what the task's test had said
TESTED = "tested_success"  # the same of one that a success detector labelled


@dataclass(frozen=True)
class Label:
    """A verdict: `reward` in -1 ... 1, above zero is success; `failure_mode` where a person names one.

    `detector` is the digest of the success detector that gave it, empty for a person.
    """

    reward: float
    failure_mode: str = ""
    by: str = ""
    note: str = ""
    stamp: float = 0.0
    detector: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.reward) and -1.0 <= self.reward <= 1.0):
            raise ValueError(f"a label of {self.reward}; expected success, failure or a number from -1 to 1")

    @property
    def success(self) -> bool:
        """Whether it is called a success."""
        return self.reward > 0.0

    @property
    def by_person(self) -> bool:
        """Whether a person gave it."""
        return not self.detector

    @classmethod
    def parse(cls, word: str, **details: Any) -> Label:  # noqa: ANN401 the fields above
        """A label from `success` (1), `failure` (-1) or a number.

        Raises:
            ValueError: it is another word, or out of range.
        """
        words = {"success": 1.0, "failure": -1.0}
        try:
            reward = words[word] if word in words else float(word)
        except ValueError as error:
            raise ValueError(f"label '{word}'; expected success, failure or a number from -1 to 1") from error
        return cls(reward, **details)

    @classmethod
    def of_detector(cls, success: bool, p_value: float, digest: str, stamp: float = 0.0) -> Label:
        """The label that a success detector gives, with the digest of its file, at a time [s]."""
        note = f"p {p_value:.4f}"
        return cls(1.0 if success else -1.0, by="success detector", note=note, stamp=stamp, detector=digest)


@dataclass(frozen=True)
class Annotation:
    """All that was said of one episode: its `label`, and the reason for which it is marked to be kept."""

    label: Label | None = None
    marked: str = ""


class Annotations:
    """Annotations in a folder, one file an episode; every process sees what any of them wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, episode_id: str) -> Annotation:
        """What was said of an episode, empty if nothing.

        Raises:
            ValueError: its file is damaged.
        """
        path = self.path(episode_id)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            label = data.get("label")
            return Annotation(Label(**label) if label else None, str(data.get("marked", "")))
        except (FileNotFoundError, NotADirectoryError):
            return Annotation()
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged: {error}; write it anew with `physai label`") from error

    def label(self, episode_id: str, label: Label | None) -> None:
        """Label an episode, or take its label away; durable when this returns."""
        self._write(episode_id, replace(self._readable(episode_id), label=label))

    def mark(self, episode_id: str, reason: str) -> None:
        """Mark an episode to be kept whatever the quota says; an empty reason takes the mark away."""
        self._write(episode_id, replace(self._readable(episode_id), marked=reason))

    def path(self, episode_id: str) -> Path:
        """File of an episode's annotation, written or not."""
        return self.folder / f"{episode_id}.json"

    def state(self, episode_id: str) -> list[int]:
        """Changes whenever the annotation does."""
        try:
            status = self.path(episode_id).stat()
        except OSError:
            return []
        return [status.st_size, status.st_mtime_ns]

    def _readable(self, episode_id: str) -> Annotation:
        try:
            return self.of(episode_id)
        except ValueError:
            return Annotation()  # what is damaged is written anew

    def _write(self, episode_id: str, annotation: Annotation) -> None:
        path = self.path(episode_id)
        if annotation == Annotation():
            path.unlink(missing_ok=True)
            return
        self.folder.mkdir(exist_ok=True)
        replace_file(path, json.dumps(asdict(annotation)))


def labelled(outcome: EpisodeOutcome, label: Label | None) -> EpisodeOutcome:
    """The outcome as whoever labelled it sees it; what the task's test measured stays as evidence."""
    if label is None:
        return outcome
    known = outcome.failure_mode if not outcome.success and outcome.failure_mode != "none" else "unknown"
    mode = "none" if label.success else label.failure_mode or known
    stage = LABEL_STAGE if label.by_person else DETECTOR_STAGE
    return replace(outcome, success=label.success, reward=label.reward, failure_mode=mode, stage=stage)


def labelled_summary(summary: EpisodeSummary, label: Label | None) -> EpisodeSummary:
    """The summary as whoever labelled it sees it. The mode that the rules found stays where they name none."""
    if label is None:
        return summary
    outcome = labelled(summary.outcome, label)
    found = summary.failure_mode if summary.failure_mode not in ("", "none") else outcome.failure_mode
    mode = "none" if label.success else label.failure_mode or found
    before = {DETECTED if label.by_person else TESTED: float(summary.outcome.success)}
    sure = summary.confidence if mode == summary.failure_mode and not label.failure_mode else 1.0
    return replace(
        summary,
        outcome=replace(outcome, failure_mode=mode),
        failure_mode=mode,
        confidence=sure,
        metrics=summary.metrics | before,
    )
