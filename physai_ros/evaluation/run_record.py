"""What a run leaves behind for its report: `RUN/run.json` and the pictures that it names."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from physai_ros.durable import replace_file

SCHEMA = 1


@dataclass(frozen=True)
class EpisodeRow:
    """One episode on the arm. Times [s]: `wall_time` since the run began, `arm_time` that the arm has worked so far."""

    index: int
    episode_id: str
    purpose: str  # train, evaluate or demonstrate
    success: bool
    failure_mode: str
    policy_version: str
    wall_time: float
    arm_time: float
    duration: float
    interventions: int = 0
    intervention_seconds: float = 0.0
    peak_force: float = float("nan")  # [N]
    safety_stops: int = 0


@dataclass(frozen=True)
class HeldOutEvaluation:
    """Successes of one policy, one entry a scenario; `role` is before, after, during or control.

    `seeds` are the scenario seeds in the same order, so that evaluations of the same ones can be paired. `group` (same
    length, or empty) says which training seed an entry belongs to where runs are pooled. `after_episodes` and
    `wall_time` [s] say when in the run the policy stood so.
    """

    label: str
    role: str
    policy_version: str
    seeds: tuple[int, ...]
    successes: tuple[bool, ...]
    after_episodes: int = 0
    wall_time: float = 0.0
    group: tuple[int, ...] = ()


@dataclass(frozen=True)
class PolicyChange:
    """A promotion or rollback: which version became active, when, on what verdict."""

    version: str
    verdict: str
    after_episodes: int
    wall_time: float
    reason: str = ""


@dataclass(frozen=True)
class ActivationSample:
    """Measured activation rate in one window of training."""

    wall_time: float
    updates: int
    rate: float


@dataclass(frozen=True)
class SelectionShare:
    """One kind of sample: its share of what was offered to the gate, and of what the gate let through."""

    kind: str
    offered: float
    selected: float


@dataclass(frozen=True)
class FrameStrip:
    """Camera frames of one episode: PNG files relative to the run's folder, and their times in the episode [s]."""

    title: str
    caption: str
    frames: tuple[str, ...]
    times: tuple[float, ...]


@dataclass(frozen=True)
class ComparisonRow:
    """A test of two versions on the same scenarios, with the paired gain and its 95 % interval; `order` sorts them."""

    evaluation_id: str
    version: str
    against: str
    scenario_set: str
    verdict: str
    detail: str
    pairs: int
    success: float
    success_against: float
    gain: float
    gain_lower: float
    gain_upper: float
    order: float = 0.0


@dataclass(frozen=True)
class HealthRow:
    """What was said of the learning after so many training episodes: state, evidence, and what to try."""

    after_episodes: int
    state: str
    evidence: str
    advice: str = ""


@dataclass(frozen=True)
class LatencyRow:
    """A time that was measured again and again [ms]; `budget` is what it may take."""

    name: str
    p50: float
    p99: float
    budget: float = float("nan")


@dataclass(frozen=True)
class TimingRow:
    """What one node of control took until `wall_time` [s] since the row before.

    `cycle` and `age`, of what it acted on, are median, 95th and 99th percentile and maximum [ms]; `deadline` [ms] is
    what a cycle may take, NaN in lock-step, where nothing is due.
    """

    node: str
    wall_time: float
    cycles: int
    missed: int
    deadline: float
    cycle: tuple[float, ...]
    age: tuple[float, ...]


@dataclass
class RunRecord:
    """Everything that the report of one run is drawn from."""

    command: str = "demo"
    version: str = ""
    seed: int = 0
    task: str = ""
    instruction: str = ""
    robot: str = ""
    started: str = ""
    force_budget: float = float("nan")  # [N]
    activation_target: float = float("nan")
    machine: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    episodes: list[EpisodeRow] = field(default_factory=list)
    evaluations: list[HeldOutEvaluation] = field(default_factory=list)
    changes: list[PolicyChange] = field(default_factory=list)
    activation: list[ActivationSample] = field(default_factory=list)
    selection: list[SelectionShare] = field(default_factory=list)
    strips: list[FrameStrip] = field(default_factory=list)
    tests: list[ComparisonRow] = field(default_factory=list)
    health: list[HealthRow] = field(default_factory=list)
    latency: list[LatencyRow] = field(default_factory=list)
    timing: list[TimingRow] = field(default_factory=list)

    def write(self, folder: Path) -> Path:
        """The path of `run.json`, replaced in one step, so that a reader never sees half of it."""
        path = folder / "run.json"
        replace_file(path, json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1))
        return path

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """The record of a run's folder.

        Raises:
            ValueError: there is no `run.json`, or it is not one of ours.
        """
        path = folder / "run.json"
        try:
            data = json.loads(path.read_text())
        except FileNotFoundError as error:
            raise ValueError(f"no run.json in {folder}; give the folder that physai demo wrote") from error
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}; the run did not finish writing, run it again") from error
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            found = data.get("schema") if isinstance(data, dict) else type(data).__name__
            raise ValueError(f"{path} has schema {found!r}; this version reads {SCHEMA}")
        del data["schema"]
        try:
            for name, row in _ROWS.items():
                data[name] = [row(**_tuples(entry)) for entry in data.get(name, [])]
            return cls(**data)
        except (TypeError, AttributeError) as error:
            known = ", ".join(f.name for f in fields(cls))
            raise ValueError(f"{path}: {error}; known are: schema, {known}") from error


_ROWS: dict[str, Any] = {
    "episodes": EpisodeRow,
    "evaluations": HeldOutEvaluation,
    "changes": PolicyChange,
    "activation": ActivationSample,
    "selection": SelectionShare,
    "strips": FrameStrip,
    "tests": ComparisonRow,
    "health": HealthRow,
    "latency": LatencyRow,
    "timing": TimingRow,
}


def _tuples(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
