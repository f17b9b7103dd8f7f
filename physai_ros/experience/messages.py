"""Our message types without ROS: their definitions, and (de)serialisation by rosbags' typestore."""

from __future__ import annotations

from functools import cache
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from physai_ros.robot.share import share_path

PACKAGE = "physai_ros"
NANOSECONDS = 1_000_000_000

TOPIC_TYPES = {
    "robot_state": "physai_ros/msg/RobotState",
    "proposed_action": "physai_ros/msg/RobotAction",
    "action_chunk": "physai_ros/msg/ActionChunk",
    "intervention": "physai_ros/msg/Intervention",
    "safe_command": "physai_ros/msg/SafeCommand",
    "safety_status": "physai_ros/msg/SafetyStatus",
    "episode": "physai_ros/msg/EpisodeContext",
    "task_outcome": "physai_ros/msg/TaskOutcome",
}
"""Topics of an episode's recording, relative names, and the type of each; `picture_topic` names those of cameras."""

PICTURE_TYPE = "sensor_msgs/msg/CompressedImage"


def picture_topic(camera: str) -> str:
    """Topic of a camera's pictures in an episode's recording, relative name."""
    return f"camera/{camera}/compressed"


@cache
def typestore() -> Typestore:
    """Typestore that knows ROS 2's own messages and those of this package.

    Raises:
        FileNotFoundError: the package's share files are not installed.
    """
    store = get_typestore(Stores.ROS2_KILTED)
    for path in sorted(share_path("msg").glob("*.msg")):
        store.register(get_types_from_msg(path.read_text(encoding="utf-8"), f"{PACKAGE}/msg/{path.stem}"))
    return store


@cache
def message_definition(type_name: str) -> str:
    """Definition of a type and of all that it contains, in `ros2msg` form, comments included where they are ours.

    Raises:
        KeyError: the type is not known.
    """
    store = typestore()
    if type_name not in store.fielddefs:
        raise KeyError(f"message type '{type_name}' is not known; known are ROS 2's own and those of {PACKAGE}")
    contained: dict[str, tuple[str, str]] = {}
    own, _ = store.gendefhash(type_name, contained, ros_version=2)
    parts = [_documented(type_name) or own]
    for name, (text, _) in contained.items():
        parts.append(f"{'=' * 80}\nMSG: {name.replace('/msg/', '/')}\n{_documented(name) or text}")
    return "".join(part if part.endswith("\n") else part + "\n" for part in parts)


def message_class(type_name: str) -> type[Any]:
    """Dataclass of a message type; its fields are those of the definition."""
    return typestore().types[type_name]


def serialize(message: object, type_name: str) -> bytes:
    """CDR bytes of a message made with `message_class`."""
    return bytes(typestore().serialize_cdr(message, type_name))


def deserialize(data: bytes, type_name: str) -> Any:  # noqa: ANN401  the class is only known at run time
    """Message in CDR bytes, as an object of `message_class`.

    Raises:
        rosbags.serde.SerdeError: the bytes are not a message of this type.
    """
    return typestore().deserialize_cdr(data, type_name)


def time_of(seconds: float) -> tuple[int, int]:
    """Seconds and nanoseconds of an instant [s], as builtin_interfaces/Time holds them; `seconds_of` is the inverse."""
    whole = int(seconds // 1)
    # The fraction is exact in binary; the product with the whole would lose nanoseconds on today's epoch.
    nanoseconds = round((seconds - whole) * NANOSECONDS)
    return (whole + 1, 0) if nanoseconds == NANOSECONDS else (whole, nanoseconds)


def seconds_of(sec: int, nanosec: int) -> float:
    """Instant [s] of a builtin_interfaces/Time, correctly rounded."""
    return (int(sec) * NANOSECONDS + int(nanosec)) / NANOSECONDS


def _documented(type_name: str) -> str | None:
    package, _, name = type_name.split("/")
    return share_path("msg", f"{name}.msg").read_text(encoding="utf-8") if package == PACKAGE else None
