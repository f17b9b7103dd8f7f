"""Cuts the graph's stream of serialised messages into episodes on disk; no ROS, and no clock but what it is given.

An episode is recorded from its context's RUNNING to its ENDED and on until its last samples are in. It is judged and
made durable before `poll` gives its summary out. A disk that takes no more never raises here: it is counted and said.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np
from rosbags.serde import SerdeError

from physai_ros.experience.alignment import concerns, context_of
from physai_ros.experience.cdr_columns import CdrError, peek_u64
from physai_ros.experience.episode import EpisodeContext, Phase
from physai_ros.experience.episode_file import read_episode
from physai_ros.experience.episode_messages import picture_message
from physai_ros.experience.messages import PICTURE_TYPE, TOPIC_TYPES, deserialize, picture_topic, seconds_of
from physai_ros.experience.pictures import encode_picture, rgb_of
from physai_ros.experience.recording import EpisodeRecorder, RecordingError
from physai_ros.experience.store import StoreError
from physai_ros.experience.summary import EpisodeSummary
from physai_ros.feedback.collector import PhysicalFeedbackCollector

OWN_SEQUENCE = ("robot_state", "proposed_action", "safe_command", "action_chunk")
"""Topics whose first number behind the header counts their own messages."""
STATE_SEQUENCE = {"robot_state": 0, "proposed_action": 1, "safe_command": 1, "action_chunk": 1}
"""Which number behind the header of these topics is the sequence of the measurement."""
ANSWER_GRACE = 0.15  # [s] for the answer to the last sample, which need not come
UNANSWERED = 2  # samples whose answer may still be on its way
SETTLE = 1.0  # [s] after which an ended episode is closed with what came
BACKLOG = 1000  # messages kept from before an episode: its first samples may come before word of it

_log = logging.getLogger(__name__)


@dataclass
class StreamCount:
    """Messages of one topic: `messages` kept, `lost` on the way."""

    messages: int = 0
    lost: int = 0
    newest: int = -1
    stamps: list[float] = field(default_factory=list)

    def follow(self, sequence: int) -> None:
        """Count what is missing before a message; one that goes back is a writer that began anew."""
        if self.newest >= 0 and sequence > self.newest:
            self.lost += sequence - self.newest - 1
        self.newest = sequence

    @property
    def missing(self) -> int:
        """What is lost; of pictures, which carry no number, what is missing in their own rhythm."""
        steps = np.diff(self.stamps)
        usual = float(np.median(steps)) if len(steps) > 2 else 0.0
        return self.lost + (int(np.maximum(np.round(steps / usual) - 1, 0).sum()) if usual > 0 else 0)


class LiveRecording:
    """Recordings of a running graph, one at a time.

    Attributes:
        lost_samples: robot states that never came, over all episodes.
        unwritten_episodes, unwritten_messages: what the disk did not take.
        error: why it did not, empty once it does again.
    """

    def __init__(self, collector: PhysicalFeedbackCollector, prefix: str = "") -> None:
        if collector.store is None:
            raise ValueError("the collector has no store; a live recording needs one")
        self._collector = collector
        self._store = collector.store
        self._prefix = prefix
        self._recorder: EpisodeRecorder | None = None
        self._context = EpisodeContext()
        self._backlog: deque[tuple[str, int, bytes]] = deque(maxlen=BACKLOG)
        self._finished: list[EpisodeSummary] = []
        self._ended: float | None = None
        self._last_sequence: int | None = None
        self._seen = {"robot_state": -1, "safe_command": -1, "proposed_action": -1}
        self._failed = False
        self._streams: dict[str, StreamCount] = {}
        self._newest: dict[str, tuple[bytes, str, int]] = {}
        self.lost_samples = 0
        self.unwritten_episodes = 0
        self.unwritten_messages = 0
        self.error = ""

    @property
    def recording(self) -> str:
        """Id of the episode that is being recorded, empty for none."""
        return self._context.episode_id if self._recorder is not None else ""

    def recover(self) -> list[EpisodeSummary]:
        """Summaries of what a crash left behind, now readable and marked as not complete."""
        return [self._collector.summarize(self._store.read(episode_id)) for episode_id in self._store.recover()]

    def add(self, topic: str, data: bytes, log_time: int, steady: float) -> None:
        """Take a message; `log_time` [ns] goes into the file, `steady` [s] is a clock that never jumps."""
        if topic == "episode":
            self._on_context(data, log_time, steady)
            return
        if self._recorder is None or self._ended is not None:
            self._backlog.append((topic, log_time, data))
        if self._failed:
            self.unwritten_messages += 1
        if self._recorder is None:
            return
        try:
            if topic in self._seen:
                self._seen[topic] = max(self._seen[topic], peek_u64(data, STATE_SEQUENCE[topic]))
            elif topic == "task_outcome" and not self._is_ours(data):
                return
        except (CdrError, SerdeError) as error:
            _log.warning("left out a message on '%s': %s", topic, error)
            return
        self._append(topic, data, log_time)

    def add_picture(self, camera: str, data: bytes, type_name: str, log_time: int) -> None:
        """Take a camera's message, a sensor_msgs/Image or CompressedImage; what comes raw is compressed here.

        Between episodes the newest is remembered: it is what was seen when the next one began.
        """
        if self._recorder is None:
            self._newest[camera] = data, type_name, log_time
            self.unwritten_messages += self._failed
            return
        topic = picture_topic(camera)
        try:
            message = deserialize(data, type_name)
            stamp = seconds_of(message.header.stamp.sec, message.header.stamp.nanosec)
            if self._ended is not None and stamp > self._context.stamp:
                self._newest[camera] = data, type_name, log_time
                return
            if type_name != PICTURE_TYPE:
                rgb = rgb_of(message.encoding, message.height, message.width, message.step, message.data)
                data = picture_message(camera, stamp, encode_picture(np.ascontiguousarray(rgb)))
            self._append(topic, data, log_time)
            self._count(topic).stamps.append(stamp)
        except (SerdeError, ValueError) as error:
            self._count(topic).lost += 1
            _log.warning("left out a picture of '%s': %s", camera, error)

    def note_lost(self, topic: str, count: int) -> None:
        """Note that the middleware dropped messages of a topic."""
        if self._recorder is not None:
            self._count(topic).lost += count

    @property
    def streams(self) -> dict[str, dict[str, int]]:
        """Messages kept and lost of every topic of the episode that is recorded, or was last."""
        return {
            topic: {"messages": each.messages, "lost": each.missing} for topic, each in sorted(self._streams.items())
        }

    def poll(self, steady: float) -> list[EpisodeSummary]:
        """Summaries of episodes that became durable since the last call."""
        if self._recorder is not None:
            try:
                self._recorder.flush_if_due()
            except RecordingError as error:
                self._fail(error)
        if self._recorder is not None and self._ended is not None and self._is_settled(steady - self._ended):
            self._finish(complete=True)
        finished, self._finished = self._finished, []
        return finished

    def close(self) -> list[EpisodeSummary]:
        """Summaries of what was finished by closing; an episode that had not ended is marked as not complete."""
        if self._recorder is not None:
            self._finish(complete=self._ended is not None)
        self._failed = False
        finished, self._finished = self._finished, []
        return finished

    def _on_context(self, data: bytes, log_time: int, steady: float) -> None:
        try:
            context = context_of(data)
        except (SerdeError, ValueError) as error:
            _log.warning("left out a message on 'episode': %s", error)
            return
        if context.phase == Phase.RUNNING and context.episode_id:
            if context.episode_id != self.recording:
                if self._recorder is not None:
                    self._finish(complete=self._ended is not None)
                self._begin(context, data, log_time)
        elif context.episode_id == self._context.episode_id and context.phase == Phase.ENDED:
            self._failed = False
            if self._recorder is not None and self._ended is None:
                self._context, self._ended = context, steady
                self._append("episode", data, log_time)

    def _begin(self, context: EpisodeContext, data: bytes, log_time: int) -> None:
        self._context, self._ended, self._last_sequence = context, None, None
        self._seen = dict.fromkeys(self._seen, -1)
        self._streams = {}
        backlog = list(self._backlog)
        self._backlog.clear()
        try:
            if self.error:
                self._finished += self.recover()
            if context.episode_id in self._store:
                _log.warning("episode %s was cut off and recovered; the rest of it is not recorded", context.episode_id)
                return
            self._recorder = self._store.record(context.episode_id, self._prefix)
            self._failed = False
        except (StoreError, RecordingError) as error:
            self._fail(error)
            return
        self._append("episode", data, log_time)
        for topic, when, payload in backlog:
            place = STATE_SEQUENCE.get(topic)
            if place is None or peek_u64(payload, place) >= context.start_sequence:
                self.add(topic, payload, when, 0.0)
        newest, self._newest = self._newest, {}
        for camera, (payload, type_name, when) in newest.items():
            self.add_picture(camera, payload, type_name, when)

    def _is_ours(self, data: bytes) -> bool:
        """Whether a verdict is on the episode that is recorded; its topic is latched and repeats old ones."""
        outcome = deserialize(data, TOPIC_TYPES["task_outcome"])
        if not concerns(outcome, self._context):
            return False
        if outcome.done and self._last_sequence is None and outcome.state_sequence >= self._context.start_sequence:
            self._last_sequence = int(outcome.state_sequence)
        return True

    def _is_settled(self, since: float) -> bool:
        if since >= SETTLE:
            return True
        last = self._last_sequence
        if last is not None and self._seen["robot_state"] < last:
            return False
        end = self._seen["robot_state"] if last is None else last
        if last is not None and self._seen["safe_command"] >= last:
            return self._is_abreast(last)
        return since >= ANSWER_GRACE and self._is_abreast(end)

    def _is_abreast(self, end: int) -> bool:
        """Whether every topic that answers states has come up to `end`.

        Topics are not read at one pace: what is behind on one of them is still in its queue.
        """
        answers = [self._seen[topic] for topic in ("safe_command", "proposed_action")]
        return all(seen >= end - UNANSWERED for seen in answers if seen >= 0)

    def _append(self, topic: str, data: bytes, log_time: int) -> None:
        if self._recorder is None:
            return
        try:
            self._recorder.append(topic, TOPIC_TYPES.get(topic, PICTURE_TYPE), log_time, data)
            count = self._count(topic)
            count.messages += 1
            if topic in OWN_SEQUENCE:
                count.follow(peek_u64(data, 0))
        except CdrError:
            return  # too short to hold a number, as `episode_of` will say
        except RecordingError as error:
            self._fail(error)

    def _count(self, topic: str) -> StreamCount:
        return self._streams.setdefault(topic, StreamCount())

    def _finish(self, *, complete: bool) -> None:
        recorder, self._ended = self._recorder, None
        try:
            recorder.flush()
            episode = read_episode(recorder.partial, pictures=True)
            episode.complete = complete
            summary = replace(self._collector.summarize(episode), streams=self.streams)
            recorder.finish(summary.to_dict())
        except RecordingError as error:
            self._fail(error)
            return
        self._recorder = None
        self.error = ""
        self.lost_samples += summary.lost_samples
        self._collector.count(summary)
        self._finished.append(summary)

    def _fail(self, error: Exception) -> None:
        """Give up on this episode's file; what is in it will be recovered when there is space again."""
        if self._recorder is not None:
            self._recorder.close()
        self._recorder, self._ended, self._failed = None, None, True
        self.unwritten_episodes += 1
        self.error = str(error)
        _log.error("episode %s is not written: %s", self._context.episode_id, error)
