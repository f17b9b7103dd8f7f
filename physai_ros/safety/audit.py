"""An append-only log whose lines are chained by hash, written beside the control loop and never by it.

One line is one JSON object: `n` counts from 0, `time` is wall time in UTC, `event` names what happened, then come the
event's own fields, `previous` (the hash of the line before) and `hash` (SHA-256 of the line without it). Whoever
changes, inserts, reorders or removes a line breaks the chain from there on. Lines that are cut off the end leave a
chain that is whole: keep the last hash elsewhere (the safety monitor says it in `/diagnostics`) and give it to
`verify_audit`. Like every such log (Crosby and Wallach, "Efficient data structures for tamper-evident logging", 2009)
it shows tampering to whoever kept a hash; it does not prevent it.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

GENESIS = "0" * 64
"""What the first line of a log names as the hash before it."""
WAITING = 10_000
"""Events that may wait for the disk; one more is dropped, and counted in the log when there is room again."""
_RETRY = 1.0  # [s]


class AuditError(ValueError):
    """A log cannot be read or its chain is broken; the message names the line and says what is wrong with it."""


class AuditVerdict(NamedTuple):
    """What a whole chain holds: number of `records`, hash of the last, events `dropped` for want of disk."""

    records: int
    head: str
    dropped: int


class AuditLog:
    """Appends events to a file from a thread of its own; `add` neither waits nor raises.

    What the disk does not take waits in memory and is tried again every second. A log that exists is continued; a last
    line that a crash cut short stays, ended by a line break, and the next record names its hash.

    Raises:
        AuditError: the file exists and its end is no record of a log.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(WAITING)
        self._closing = threading.Event()
        self._accepted = self._written = self._missed = 0
        self.dropped = 0
        self.error = ""
        self._file = self.path.open("ab", buffering=0)
        try:
            self._count, self.head, torn = _end_of(self.path)
        except BaseException:
            self._file.close()
            raise
        opened: dict[str, Any] = {"pid": os.getpid()}
        if torn:
            opened["torn"] = hashlib.sha256(torn).hexdigest()
        self._lead = b"\n" if torn else b""
        self.add("opened", **opened)
        self._thread = threading.Thread(target=self._write, name="audit", daemon=True)
        self._thread.start()

    def add(self, event: str, **values: object) -> None:
        """Hand an event to the writer; its values are anything that JSON can hold."""
        entry = {"time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"), "event": event, **values}
        if self._missed:
            entry["dropped_before"] = self._missed
        try:
            self._queue.put_nowait(entry)
            self._accepted += 1
            self._missed = 0
        except queue.Full:
            self._missed += 1
            self.dropped += 1

    @property
    def waiting(self) -> int:
        """Events that are not on the disk yet."""
        return self._accepted - self._written

    def flush(self, timeout: float) -> bool:
        """Wait for the disk for at most `timeout` [s]; False where events still wait."""
        until = time.monotonic() + timeout
        while self.waiting and time.monotonic() < until:
            time.sleep(0.002)
        return not self.waiting

    def close(self, timeout: float = 2.0) -> None:
        """Write what waits, for at most `timeout` [s], and close the file; safe to call twice."""
        if self._file.closed:
            return
        self.flush(timeout)
        self._closing.set()
        with suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(timeout=timeout)
        self._file.close()

    def _write(self) -> None:
        while not self._closing.is_set():
            entry = self._queue.get()
            batch = [each for each in (entry, *self._more()) if each is not None]
            while batch and not self._append(batch):
                if self._closing.wait(_RETRY):
                    return

    def _more(self) -> Iterator[dict[str, Any] | None]:
        with suppress(queue.Empty):
            while True:
                yield self._queue.get_nowait()

    def _append(self, batch: list[dict[str, Any]]) -> bool:
        """Write records and wait until they are durable; what the disk took of them by halves is taken back."""
        head, count, lines = self.head, self._count, [self._lead]
        for entry in batch:
            record = {"n": count, **_plain(entry), "previous": head}
            head = record["hash"] = _hash(record)
            lines.append(json.dumps(record, allow_nan=False).encode() + b"\n")
            count += 1
        data, before = b"".join(lines), os.fstat(self._file.fileno()).st_size
        try:
            while data:
                data = data[self._file.write(data) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self.error = f"{self.path}: {error.strerror}; events wait in memory, make room on the disk"
            with suppress(OSError):
                self._file.truncate(before)
            return False
        self._written += len(batch)
        self.head, self._count, self._lead, self.error = head, count, b"", ""
        return True


def read_audit(path: Path | str) -> list[dict[str, Any]]:
    """All records of a log whose chain is whole, oldest first.

    Raises:
        AuditError: it is not; the message names the first line that does not fit.
        OSError: the file cannot be read.
    """
    records: list[dict[str, Any]] = []
    head, torn = GENESIS, b""
    for number, line in enumerate(Path(path).read_bytes().split(b"\n"), start=1):
        if not line:
            continue
        record = _record(line)
        if record is None:
            if torn:
                raise AuditError(f"{path}, line {number}: this is no record, nor is the line before")
            torn = line
            continue
        if torn and record.get("torn") != hashlib.sha256(torn).hexdigest():
            raise AuditError(f"{path}, line {number - 1}: this is no record, and no crash was noted after it")
        if not torn and "torn" in record:
            raise AuditError(f"{path}, line {number}: it names a line cut short by a crash, and there is none")
        if record.get("n") != len(records):
            raise AuditError(f"{path}, line {number}: it is record {record.get('n')}; expected {len(records)}")
        if record.get("previous") != head:
            raise AuditError(f"{path}, line {number}: it does not follow the record before; lines were changed")
        if record.get("hash") != _hash(record):
            raise AuditError(f"{path}, line {number}: its contents do not have its hash; it was changed")
        torn, head = b"", record["hash"]
        records.append(record)
    return records


def verify_audit(path: Path | str, head: str = "") -> AuditVerdict:
    """What a log whose chain is whole holds; with `head`, a hash that was kept, also that it reaches that far.

    Raises:
        AuditError: the chain is broken, or does not hold `head`.
        OSError: the file cannot be read.
    """
    records = read_audit(path)
    hashes = [record["hash"] for record in records]
    if head and head not in hashes:
        raise AuditError(f"{path} holds {len(hashes)} records, and none has the hash {head}: its end was cut off")
    dropped = sum(int(record.get("dropped_before", 0)) for record in records)
    return AuditVerdict(len(records), hashes[-1] if hashes else GENESIS, dropped)


def _end_of(path: Path) -> tuple[int, str, bytes]:
    """Number of records, hash of the last, and the bytes of a line cut short, empty where there is none."""
    lines = path.read_bytes().split(b"\n")
    torn = lines.pop()
    while lines:
        record = _record(lines.pop())
        if record is not None and {"n", "hash"} <= set(record):
            return int(record["n"]) + 1, str(record["hash"]), torn
        if record is not None:
            break
    else:
        return 0, GENESIS, torn
    raise AuditError(f"{path} does not end with a record of an audit log; name another file, or move this one away")


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _hash(record: Mapping[str, Any]) -> str:
    """SHA-256 of a record's canonical JSON without its own hash."""
    content = {name: value for name, value in record.items() if name != "hash"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever an event holds
    """A value as JSON can hold it; numbers that are not finite become words, so that what was refused can be read."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)
