"""The mapping file of a bag: which topic of a user's own robot is what of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

SIGNALS = ("joint_states", "command", "wrench", "gripper", "gripper_command")


class MappingError(ValueError):
    """A mapping file says what cannot be; the message says which line and what is expected."""


@dataclass(frozen=True)
class GripperMapping:
    """Values of the gripper's joint that mean closed and open; `joint` by name, else the first."""

    joint: str = ""
    closed: float = 0.0
    open: float = 1.0


@dataclass(frozen=True)
class BagMapping:
    """What a mapping file says.

    Attributes:
        topics: signal, one of `SIGNALS`, to topic; `joint_states` must be there.
        cameras: name to topic.
        robot: configuration, by name or path; gives joint names, rate and the tool's pose.
        joints: names of the arm's joints where no robot is named, in its order.
        rate: samples a second [Hz] where no robot is named.
        task, instruction, purpose, outcome: of every episode; `demonstrate` and `success` unless the file says else.
        split_gap: an episode ends where the joints were silent for this long [s].
        episode_topic: std_msgs/Bool that is true while an episode runs; then gaps do not matter.
        gripper: what its values mean.
        prefix: beginning of the episodes' ids; the bag's name if empty.
    """

    topics: Mapping[str, str]
    cameras: Mapping[str, str] = field(default_factory=dict)
    robot: str = ""
    joints: tuple[str, ...] = ()
    rate: float = 100.0
    task: str = "unknown"
    instruction: str = ""
    purpose: str = "demonstrate"
    outcome: str = "success"
    split_gap: float = 2.0
    episode_topic: str = ""
    gripper: GripperMapping = GripperMapping()
    prefix: str = ""

    @classmethod
    def load(cls, path: Path) -> BagMapping:
        """The mapping in a YAML file.

        Raises:
            MappingError: it cannot be read, or says what cannot be.
        """
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise MappingError(f"cannot read {path}: {error.strerror}") from error
        except yaml.YAMLError as error:
            raise MappingError(f"{path} is no YAML: {error}") from error
        if not isinstance(content, dict):
            raise MappingError(f"{path} holds {type(content).__name__}; expected keys such as topics, cameras, robot")
        try:
            return cls._of(content)
        except MappingError as error:
            raise MappingError(f"{path}: {error}") from error

    @classmethod
    def _of(cls, content: dict[str, Any]) -> BagMapping:
        known = {each.name for each in fields(cls)}
        unknown = set(content) - known
        if unknown:
            raise MappingError(f"unknown keys {', '.join(sorted(map(str, unknown)))}; known are {', '.join(known)}")
        topics = _strings(content, "topics")
        if "joint_states" not in topics or set(topics) - set(SIGNALS):
            raise MappingError(
                f"topics names {', '.join(topics) or 'nothing'}; joint_states must be there, and beside it only "
                f"{', '.join(SIGNALS[1:])}"
            )
        values = {key: value for key, value in content.items() if key not in ("topics", "cameras", "gripper", "joints")}
        for name, kind in (("rate", (int, float)), ("split_gap", (int, float))):
            if name in values and not (isinstance(values[name], kind) and values[name] > 0):
                raise MappingError(f"{name} is {values[name]!r}; expected a number above zero")
        for name in set(values) - {"rate", "split_gap"}:
            if not isinstance(values[name], str):
                raise MappingError(
                    f"{name} is {values[name]!r}; expected a text, in quotes where YAML reads it otherwise"
                )
        for name, words in (("purpose", ("train", "demonstrate", "evaluate")), ("outcome", ("success", "unknown"))):
            if values.get(name, words[0]) not in words:
                raise MappingError(f"{name} is '{values[name]}'; expected one of {', '.join(words)}")
        gripper = content.get("gripper", {})
        if not isinstance(gripper, dict) or set(gripper) - {"joint", "closed", "open"}:
            raise MappingError("gripper takes joint, closed and open")
        joints = content.get("joints", [])
        if not isinstance(joints, list):
            raise MappingError("joints takes a list of names")
        return cls(
            topics=topics,
            cameras=_strings(content, "cameras"),
            gripper=GripperMapping(**gripper),
            joints=tuple(str(name) for name in joints),
            **values,
        )


def _strings(content: dict[str, Any], key: str) -> dict[str, str]:
    part = content.get(key) or {}
    if not isinstance(part, dict) or not all(isinstance(value, str) for value in part.values()):
        raise MappingError(f"{key} takes names with their topics, e.g. {key}: {{joint_states: /joint_states}}")
    return {str(name): topic for name, topic in part.items()}
