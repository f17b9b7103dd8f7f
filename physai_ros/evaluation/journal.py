"""What an evaluation has finished, durable episode by episode, so that whoever was killed goes on where it was."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from physai_ros.durable import sync_folder
from physai_ros.evaluation.trials import TrialResult

_BEGINNING = b'{"evaluation": '


class EvaluationJournal:
    """A file of JSON lines: what is evaluated, then one result a line, each on the disk before the next trial counts.

    Opened again for the same evaluation, `results` holds what had finished, by index of the trial. A line that was cut
    off is dropped with its episode; an index that came twice counts once.

    Raises:
        ValueError: the file is of another evaluation, another process writes it, or it is no journal.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, subject: Mapping[str, Any]) -> None:
        self.path = path
        self.results: dict[int, TrialResult] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+b")  # noqa: SIM115 - closed by `close`
        try:
            self._hold()
            self._read(json.loads(json.dumps(subject)))
        except BaseException:
            self._file.close()
            raise

    def append(self, result: TrialResult) -> bool:
        """Whether the result is new; then it is durable when this returns."""
        if result.index in self.results:
            return False
        self._write({"result": asdict(result)})
        self.results[result.index] = result
        return True

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> EvaluationJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hold(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"{self.path} is being written by another process; wait for it, or name another"
            ) from error

    def _read(self, subject: dict[str, Any]) -> None:
        self._file.seek(0)
        content = self._file.read()
        if content[: len(_BEGINNING)] != _BEGINNING[: len(content)]:
            raise ValueError(f"{self.path} is no journal of an evaluation; name another file")
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            self._file.truncate(len(whole))  # cut off while it was written
        lines = whole.splitlines()
        if not lines:
            self._write({"evaluation": subject})
            sync_folder(self.path.parent)
            return
        try:
            found = json.loads(lines[0])["evaluation"]
            rows = [json.loads(line)["result"] for line in lines[1:]]
            for row in rows:
                self.results.setdefault(int(row["index"]), TrialResult(**row))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path} is no journal of an evaluation ({error}); name another file") from error
        if found != subject:
            other = next(key for key in {**found, **subject} if found.get(key) != subject.get(key))
            raise ValueError(
                f"{self.path} is of another evaluation: its {other} is {found.get(other)}, asked for is "
                f"{subject.get(other)}; name another file"
            )

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.seek(0, os.SEEK_END)
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def read_subject(path: Path) -> dict[str, Any] | None:
    """What a journal says is evaluated; None where there is none that can be read."""
    try:
        with path.open("rb") as file:
            return dict(json.loads(file.readline())["evaluation"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
