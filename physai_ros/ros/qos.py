"""QoS profiles, named by their use. Writers of control topics are reliable, so that both kinds of reader match them."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy


def _profile(depth: int, *, reliable: bool = True, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        liveliness=LivelinessPolicy.AUTOMATIC,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


CONTROL = _profile(1, reliable=False)
"""Reader in the control loop: only the newest counts, and a late one is of no use."""

CONTROL_WRITER = _profile(500)
"""Writer of a control topic: reliable, so that recorders lose nothing while they write to the disk; 5 s at 100 Hz."""

RECORD = _profile(500)
"""Reader that wants every sample: five seconds at 100 Hz, less in lock-step, which goes as fast as it can."""

COMMAND = _profile(5, reliable=False)
"""Reader of commands in the driver: it judges age itself, and must not miss the right one behind a foreign one."""

INTERVENTION = _profile(1)
"""Both ends of `intervention`: delivered, and only the newest."""

EVENT = _profile(10)
"""Both ends of what happens now and then: status, outcome, feedback, hints."""

LATCHED = _profile(1, latched=True)
"""Both ends of what a late joiner must know: `episode`, `policy_update`, `task_outcome`."""

SENSOR = _profile(5, reliable=False)
"""Reader of cameras and other streams of sensors."""

SENSOR_WRITER = _profile(5)
"""Writer of cameras: reliable, so that both kinds of reader match it."""

SENSOR_RECORD = _profile(30, reliable=False)
"""Recorder of cameras: a second of pictures may wait while it writes to the disk."""

CLOCK = _profile(1, reliable=False)
"""Reader of `/clock`."""

CLOCK_WRITER = _profile(1)
"""Writer of `/clock`."""
