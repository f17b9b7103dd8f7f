"""The safety log: whole after whatever the disk does, broken by whoever changes a line."""

import json
import resource
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.robot.action import Intervention
from physai_ros.safety import audit
from physai_ros.safety.audit import AuditError, AuditLog, read_audit, verify_audit
from physai_ros.safety.journal import SafetyJournal
from physai_ros.safety.state_machine import SafetyState


def write(path, events: str):
    log = AuditLog(path)
    for event in events.split():
        log.add(event)
    log.close()
    return log


def test_a_log_is_continued_and_keeps_what_was_said(tmp_path):
    path = tmp_path / "new" / "audit.jsonl"
    first = write(path, "one two")
    log = AuditLog(path)
    log.add("three", reasons=("a", "b"), force=np.float64(61.5), refused=float("nan"), joints=np.arange(2))
    log.close()
    log.close()
    records = read_audit(path)
    assert [record["event"] for record in records] == ["opened", "one", "two", "opened", "three"]
    assert records[-1]["reasons"] == ["a", "b"]
    assert (records[-1]["force"], records[-1]["refused"], records[-1]["joints"]) == (61.5, "nan", [0, 1])
    assert verify_audit(path) == (5, log.head, 0)
    assert verify_audit(path, first.head).records == 5  # a hash that was kept is still in it


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_change_of_any_line_is_found(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("audit") / "audit.jsonl"
    log = write(path, "one two three four")
    lines = path.read_bytes().splitlines(keepends=True)
    index = data.draw(st.integers(0, len(lines) - 1))
    kind = data.draw(st.sampled_from(["drop", "swap", "double", "edit", "rehash", "garble", "insert"]))
    if kind == "drop":
        del lines[index]
    elif kind == "swap":
        other = data.draw(st.integers(0, len(lines) - 1).filter(lambda i: i != index))
        lines[index], lines[other] = lines[other], lines[index]
    elif kind == "double":
        lines.insert(index, lines[index])
    elif kind == "insert":
        lines.insert(index, b"not a record\n")
    elif kind == "garble":
        lines[index] = lines[index][: data.draw(st.integers(1, 20))] + b"\n"
    else:
        record = json.loads(lines[index])
        record["event"] = "something else"
        if kind == "rehash":
            record["hash"] = audit._hash(record)
        lines[index] = json.dumps(record).encode() + b"\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(AuditError, match="audit.jsonl"):
        verify_audit(path, log.head)


def test_an_end_that_was_cut_off_shows_against_a_hash_that_was_kept(tmp_path):
    path = tmp_path / "audit.jsonl"
    log = write(path, "one two")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert verify_audit(path).records == 2
    with pytest.raises(AuditError, match="its end was cut off"):
        verify_audit(path, log.head)


def test_a_line_that_a_crash_cut_short_stays_and_is_named(tmp_path):
    path = tmp_path / "audit.jsonl"
    write(path, "one two")
    path.write_bytes(path.read_bytes()[:-30])
    write(path, "three")
    assert [record["event"] for record in read_audit(path)] == ["opened", "one", "opened", "three"]
    assert "torn" in read_audit(path)[2]
    write(path, "four")
    assert verify_audit(path).records == 6


def test_what_is_no_log_is_not_continued(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text('{"not": "ours"}\n')
    with pytest.raises(AuditError, match="name another file"):
        AuditLog(path)
    assert path.read_text() == '{"not": "ours"}\n'


def test_on_a_full_disk_events_wait_and_come_in_order_when_there_is_room(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "_RETRY", 0.01)
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    assert log.flush(5.0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 40, before[1]))
    try:
        for index in range(3):
            log.add(f"event {index}")
        assert not log.flush(0.2)
        assert "make room" in log.error
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert log.flush(5.0)
    log.close()
    assert not log.error
    assert [record["event"] for record in read_audit(path)] == ["opened", "event 0", "event 1", "event 2"]


def test_what_does_not_fit_into_memory_either_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "WAITING", 5)
    monkeypatch.setattr(audit, "_RETRY", 0.01)
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    assert log.flush(5.0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        log.add("first")
        deadline = time.monotonic() + 5.0
        while not log.error:  # the disk refused it: the writer has it in hand and takes no more
            assert time.monotonic() < deadline
        for _ in range(8):
            log.add("flood")
        assert log.dropped == 3
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert log.flush(5.0)
    log.add("after")
    log.close()
    assert read_audit(path)[-1]["dropped_before"] == 3
    assert verify_audit(path).dropped == 3


def test_what_was_flushed_survives_a_kill(tmp_path):
    path = tmp_path / "audit.jsonl"
    code = f"""
        import os, signal
        from physai_ros.safety.audit import AuditLog
        log = AuditLog({str(path)!r})
        for index in range(100):
            log.add("event", index=index)
        assert log.flush(10.0)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(code)]).returncode == -9
    assert [record.get("index") for record in read_audit(path)] == [None, *range(100)]


def test_a_condition_that_lasts_is_two_lines(loop, tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl")
    journal = SafetyJournal(log)

    def cycle(reference: np.ndarray | None = None, intervention: Intervention | None = None) -> None:
        proposal = None if reference is None else loop.action(reference, state_sequence=loop.sequence + 1)
        journal.decision(loop.cycle(proposal=proposal, intervention=intervention), proposal)
        journal.state(loop.supervisor.state, loop.supervisor.reasons)

    home = loop.spec.home_positions
    beyond = np.array([loop.limits.position_lower[0] - 0.5, *home[1:]])
    for _ in range(250):
        cycle(beyond)
    for _ in range(50):
        cycle(loop.supervisor.set_point.positions)
    for _ in range(10):
        cycle(home, loop.intervention(loop.supervisor.set_point.positions))
    for _ in range(40):
        cycle()
    loop.supervisor.emergency_stop()
    journal.note("emergency_stop_called", by="test")
    cycle()
    journal.close()

    events = read_audit(log.path)
    names = [event["event"] for event in events]
    assert names.count("altered") == names.count("altered_no_more") == 1
    over = events[names.index("altered_no_more")]
    assert over["cycles"] > 50
    assert over["farthest_rad"] > 0.4
    assert names.index("operator_takes_over") < names.index("operator_hands_back")
    assert events[-1]["state"] == SafetyState.STOPPED.name.lower()
    assert events[-1]["reasons"][0] == "emergency_stop"
    assert len(events) < 20


def test_without_a_log_nothing_is_kept_and_nothing_fails():
    journal = SafetyJournal(None)
    journal.note("anything")
    journal.state(SafetyState.HOLD, ("no_proposal",))
    assert journal.health == ("", {"audit_log": "none"})
    journal.close()
