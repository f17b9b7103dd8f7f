"""Node `feedback_collector`: writes every episode as a durable file, judges it, and then announces it."""

import time
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CompressedImage, Image

from physai_ros import msg
from physai_ros.experience.messages import PICTURE_TYPE, TOPIC_TYPES
from physai_ros.experience.retention import prune
from physai_ros.experience.store import EpisodeStore
from physai_ros.experience.summary import EpisodeSummary
from physai_ros.experience.timing_log import TimingLog
from physai_ros.feedback.collector import DEFAULT_FORCE_BUDGET, EpisodeFeedbackRecord, PhysicalFeedbackCollector
from physai_ros.feedback.live import LiveRecording
from physai_ros.ros import qos
from physai_ros.ros.lifecycle import ERROR, OK, WARN, ManagedNode, run
from physai_ros.ros.parameters import parameter
from physai_ros.ros.stamps import header
from physai_ros.tasks.catalog import TASKS
from physai_ros.tasks.task import Task

POLL_PERIOD = 0.05  # [s] between looks at whether an ended episode is all in
PICTURE_SOCKET = 4 << 20  # [B] that config/fastdds.xml asks for, and raw pictures need
_SENT = set(msg.EpisodeFeedback.get_fields_and_field_types())
PROFILES = {"episode": qos.LATCHED, "task_outcome": qos.LATCHED}


@dataclass(frozen=True)
class Parameters:
    """Parameters of `feedback_collector`."""

    store: str = parameter("runs/episodes", "Folder of the episode store; made if it does not exist.")
    force_budget: float = parameter(
        DEFAULT_FORCE_BUDGET, "Tool force that a task of your own allows [N].", minimum=0.1, maximum=1000.0
    )
    cameras: tuple[str, ...] = parameter((), "Cameras to record, as in camera/<name>/image_raw; compressed here.")
    compressed_cameras: tuple[str, ...] = parameter((), "Cameras to record as they come, as in .../compressed.")
    quota: float = parameter(0.0, "Size that the store may have [GB]; 0: as large as the disk.", minimum=0.0)
    timing_log: str = parameter(
        "", "File to which the times that the nodes of control tell are appended; empty: none is kept."
    )
    keep_training: int = parameter(2000, "Newest training episodes that are kept whatever the quota.", minimum=1)


class FeedbackCollector(ManagedNode):
    """Records raw messages, so that nothing is decoded that need not be."""

    node_name = "feedback_collector"
    Parameters = Parameters

    def configure(self) -> None:
        """Open the store and subscribe to everything that an episode is made of."""
        self._store = EpisodeStore(Path(self.parameters.store))
        self._collector = PhysicalFeedbackCollector(self._store, self._force_budget, _task)
        self._live = LiveRecording(self._collector, self.get_namespace().rstrip("/"))
        self._running = b""
        self._last_log_time = 0
        self._announced = 0
        self._over_quota = 0
        self._feedback = self.publisher(msg.EpisodeFeedback, "episode_feedback", qos.EVENT)
        for topic, type_name in TOPIC_TYPES.items():
            message_type = getattr(msg, type_name.rsplit("/", 1)[-1])
            profile = PROFILES.get(topic, qos.RECORD)
            self.subscribe(
                message_type, topic, partial(self._on_message, topic), profile, raw=True, patient=topic not in PROFILES
            )
        for camera in self.parameters.cameras:
            on_image = partial(self._on_picture, camera, "sensor_msgs/msg/Image")
            self.subscribe(Image, f"camera/{camera}/image_raw", on_image, qos.SENSOR_RECORD, raw=True)
        if self.parameters.cameras and (limit := _socket_limit()) < PICTURE_SOCKET:
            self.get_logger().warning(
                f"sockets may hold {limit / 1e6:.1f} MB here, and raw pictures will be lost: record compressed ones or "
                f"run sysctl -w net.core.rmem_max={PICTURE_SOCKET}"
            )
        for camera in self.parameters.compressed_cameras:
            on_image = partial(self._on_picture, camera, PICTURE_TYPE)
            self.subscribe(
                CompressedImage, f"camera/{camera}/image_raw/compressed", on_image, qos.SENSOR_RECORD, raw=True
            )
        self._timing: TimingLog | None = None
        if self.parameters.timing_log:
            self._timing = TimingLog(Path(self.parameters.timing_log))
            self.subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.EVENT)
        self.every(POLL_PERIOD, self._poll)

    def activate(self) -> None:
        """Recover what a crash left behind, say so, and join an episode that is running already."""
        for summary in self._live.recover():
            self.get_logger().warning(f"recovered episode {summary.context.episode_id}: {summary.samples} samples")
            self._announce(summary)
        if self._running:
            self._live.add("episode", self._running, self._log_time(), time.monotonic())

    def deactivate(self) -> None:
        """Close the episode that is being recorded; it is marked as not complete."""
        for summary in self._live.close():
            self._announce(summary)
        if self._timing is not None:
            self._timing.close()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        """Error while the disk takes nothing, warning once samples were lost."""
        if not self.active:
            return OK, "not active", {}
        live = self._live
        values = {
            "recording": live.recording,
            "announced_episodes": self._announced,
            "lost_samples": live.lost_samples,
            "unwritten_episodes": live.unwritten_episodes,
            "unwritten_messages": live.unwritten_messages,
            "store": self.parameters.store,
            **{f"lost/{topic}": count["lost"] for topic, count in live.streams.items()},
        }
        if live.error:
            return ERROR, live.error, values
        if self._timing is not None and self._timing.error:
            return WARN, self._timing.error, values | {"unwritten_timing": self._timing.unwritten}
        if self._over_quota:
            text = f"the store is {self._over_quota / 1e6:.0f} MB over its quota and all of it is needed"
            return WARN, text, values
        if live.lost_samples:
            return WARN, f"{live.lost_samples} samples were lost", values
        return OK, f"recording {live.recording}" if live.recording else "waiting for an episode", values

    def _on_message(self, topic: str, data: bytes) -> None:
        if topic == "episode":
            self.take_patient()  # what was sent before belongs to the episode before
            self._running = data
        if self.active:
            self._live.add(topic, data, self._log_time(), time.monotonic())

    def _on_picture(self, camera: str, type_name: str, data: bytes) -> None:
        if self.active:
            self._live.add_picture(camera, data, type_name, self._log_time())

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """What the nodes of this namespace tell of their cycles."""
        for status in message.status:
            if status.name.startswith(self.get_namespace().rstrip("/") + "/"):
                self._timing.add(status.hardware_id, {pair.key: pair.value for pair in status.values})

    def _poll(self) -> None:
        for summary in self._live.poll(time.monotonic()):
            self._announce(summary)
            self._keep_to_quota()

    def _keep_to_quota(self) -> None:
        """Make room where the store is too large, of what nobody needs any more."""
        if not self.parameters.quota:
            return
        report = prune(self._store, round(self.parameters.quota * 1e9), keep_training=self.parameters.keep_training)
        if report.removed:
            self.get_logger().info(f"quota: removed {len(report.removed)} episodes, {report.freed / 1e6:.0f} MB")
        self._over_quota = max(0, report.size - round(self.parameters.quota * 1e9))

    def _announce(self, summary: EpisodeSummary) -> None:
        """Publish what is durable already."""
        record = EpisodeFeedbackRecord.from_summary(summary)
        values = {field.name: getattr(record, field.name) for field in fields(record) if field.name in _SENT}
        values["purpose"] = int(record.purpose)
        self._feedback.publish(msg.EpisodeFeedback(header=header(self.now()), **values))
        self._announced += 1

    def _force_budget(self, task: str) -> float:
        # The name came over the wire: it is looked up, never imported.
        return TASKS[task].force_budget if task in TASKS else self.parameters.force_budget

    def _log_time(self) -> int:
        """When the message came, by the node clock [ns], held where that jumps back."""
        now = self.get_clock().now().nanoseconds
        if self.arrival is not None and not self.get_clock().ros_time_is_active:
            now = self.arrival
        self._last_log_time = max(self._last_log_time, now)
        return self._last_log_time


def _task(name: str) -> Task | None:
    return TASKS[name]() if name in TASKS else None


def _socket_limit() -> int:
    """Most that the kernel lets a socket hold [B]; where that is not known, as much as is needed."""
    try:
        return int(Path("/proc/sys/net/core/rmem_max").read_text())
    except (OSError, ValueError):
        return PICTURE_SOCKET


def main() -> int:
    """Exit code of the node's process."""
    return run(FeedbackCollector)


if __name__ == "__main__":
    raise SystemExit(main())
