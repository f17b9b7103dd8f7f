"""An `Episode` to a file and back: the same topics and messages as a live recording, one reader for both."""

from __future__ import annotations

from pathlib import Path

from rosbags.serde import SerdeError

from physai_ros.experience.alignment import episode_of
from physai_ros.experience.episode import Episode
from physai_ros.experience.episode_messages import messages_of
from physai_ros.experience.messages import PICTURE_TYPE, TOPIC_TYPES
from physai_ros.experience.recording import EpisodeRecorder, RecordingError, read_recording
from physai_ros.experience.summary import EpisodeSummary


def read_episode(path: Path, *, pictures: bool = False) -> Episode:
    """The episode in a file, finished or cut off, aligned by sequence into the columns that `Episode` documents.

    Its pictures are read only where they are asked for.

    Raises:
        RecordingError: the file cannot be read or holds no episode.
    """
    recording = read_recording(path, pictures=pictures)
    try:
        return episode_of(recording)
    except (SerdeError, KeyError, IndexError, ValueError) as error:
        raise RecordingError(f"{path} holds no episode of physai_ros: {error}") from error


def write_episode(path: Path, episode: Episode, summary: EpisodeSummary | None = None) -> Path:
    """Write an episode as a finished, durable file and return its path; `summary` where more is known than itself.

    What is read back is the same to the last bit, but for instants, which messages hold to the nanosecond.

    Raises:
        RecordingError: the file exists or cannot be written.
    """
    recorder = EpisodeRecorder(path, flush_period=float("inf"))
    try:
        for topic, log_time, data in messages_of(episode):
            recorder.append(topic, TOPIC_TYPES.get(topic, PICTURE_TYPE), log_time, data)
        return recorder.finish((summary or EpisodeSummary.of(episode)).to_dict())
    except BaseException:
        # Written in one go from memory, so what is there so far is no experience that could be lost.
        recorder.close()
        recorder.partial.unlink(missing_ok=True)
        raise
