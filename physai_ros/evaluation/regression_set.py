"""All failures ever fixed: scenarios that a version failed and a later one, which earned its place, solved."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from physai_ros.durable import replace_file

FILE = "regression.json"
SCHEMA = 1


@dataclass(frozen=True)
class FixedFailure:
    """One scenario, with what it takes to run it again: seed, scenario where that was not drawn from it, and physics.

    `failed` and `fixed` name the versions, `failure_mode` how the first failed, `source` where that was seen.
    """

    task: str
    scenario_seed: int
    failed: str
    failure_mode: str
    fixed: str
    source: str = ""
    scenario_json: str = ""
    physics: dict[str, float] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, int, str, str]:
        """What tells two entries apart."""
        return self.task, self.scenario_seed, self.scenario_json, json.dumps(self.physics, sort_keys=True)


class RegressionSet:
    """The failures in `regression.json` of a registry's folder; one process writes it, many may read.

    A failure gets in when a version that replaces another solves a scenario that the other one failed in their test,
    or by hand: `physai policies regression --add EPISODE`, which runs the episode's scenario by the active version and
    takes it in if that solves it. It is never taken out but by hand.
    """

    def __init__(self, folder: Path | str) -> None:
        self.path = Path(folder) / FILE

    def entries(self, task: str = "") -> tuple[FixedFailure, ...]:
        """Entries of a task, or all, oldest first.

        Raises:
            ValueError: the file is damaged.
        """
        try:
            data = json.loads(self.path.read_text())
            if data["schema"] != SCHEMA:
                raise ValueError(f"schema {data['schema']}, expected {SCHEMA}")
            found = [FixedFailure(**entry) for entry in data["failures"]]
        except FileNotFoundError:
            return ()
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path} is damaged ({error}); restore it, or delete it to begin anew") from error
        return tuple(entry for entry in found if task in ("", entry.task))

    def add(self, failures: Iterable[FixedFailure]) -> int:
        """Keep failures, durably; returns how many of them were new."""
        entries = list(self.entries())
        known = {entry.key for entry in entries}
        new = []
        for failure in failures:
            if failure.key not in known:
                known.add(failure.key)
                new.append(failure)
        if new:
            text = json.dumps({"schema": SCHEMA, "failures": [asdict(entry) for entry in [*entries, *new]]}, indent=1)
            replace_file(self.path, text)
        return len(new)
