"""What can still be read of a recording that was cut off or damaged, as a whole file of its own."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from physai_ros.experience.alignment import episode_of
from physai_ros.experience.recording import PARTIAL_SUFFIX, EpisodeRecorder, RecordingError, read_recording
from physai_ros.experience.summary import EpisodeSummary

_log = logging.getLogger(__name__)


def rebuild(source: Path, target: Path) -> bool:
    """Whether the episode in `source` was made readable as `target`, marked as not complete; durable if so.

    Raises:
        RecordingError: the disk did not take it.
    """
    try:
        recording = read_recording(source, pictures=True)
        episode = episode_of(recording)
    except (RecordingError, ValueError, KeyError, IndexError) as error:
        _log.warning("nothing to recover in %s: %s", source, error)
        return False
    # Through a hidden name, so that a recovery that is itself cut off is simply done again.
    scratch = target.with_name(f".{target.name}")
    for leftover in (scratch, scratch.with_name(scratch.name.removesuffix(".mcap") + PARTIAL_SUFFIX)):
        leftover.unlink(missing_ok=True)
    recorder = EpisodeRecorder(scratch, flush_period=float("inf"))
    entries = [
        (when, topic, messages.type_name, data)
        for topic, messages in recording.topics.items()
        for when, data in zip(messages.log_times, messages.payloads, strict=True)
    ]
    for when, topic, type_name, data in sorted(entries, key=lambda e: e[0]):
        recorder.append(topic, type_name, when, data)
    episode.complete = False
    recorder.finish(EpisodeSummary.of(episode).to_dict())
    os.replace(scratch, target)
    return True
