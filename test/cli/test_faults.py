"""The matrix itself: what the relay makes of messages, and the most important faults against a live graph."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message

from physai_ros import msg
from physai_ros.cli import fault_messages, faults
from physai_ros.cli.fault_pulse import DISTURBED, Pulse
from physai_ros.cli.fault_relay import READERS, TOPICS, dropped, edited
from physai_ros.cli.fault_rig import wait_until
from physai_ros.deployment.graph import load_graph

SHORT = ("safety_killed", "safety_frozen", "policy_frozen", "proposal_nan", "foreign_command", "stop_safety")


def test_names_are_unique_and_every_fault_says_what_must_happen():
    known, sinks = faults._chosen("")
    names = [fault.name for fault in known] + sinks
    assert len(set(names)) == len(names)
    assert all(fault.expected for fault in known)
    assert all(0 < fault.detection < 0.151 for fault in known if fault.name != "graph_killed")
    killed = {fault.restarts for fault in known if fault.restarts}
    assert killed == {process.name for process in load_graph("sim").processes}  # nobody is forgotten


def test_faults_are_chosen_by_name_and_by_first_word():
    chosen, sinks = faults._chosen("safety, proposal_nan,sink")
    assert [fault.name for fault in chosen] == ["safety_killed", "safety_frozen", "proposal_nan"]
    assert len(sinks) == 2
    with pytest.raises(ValueError, match="no fault 'meteor'; there are policy_killed"):
        faults._chosen("safety,meteor")


def test_no_round_is_begun_that_would_end_too_late():
    assert faults._another_ends_in_time(0, 0.0, 0.0)
    assert faults._another_ends_in_time(4, 1600.0, 33.4)
    assert not faults._another_ends_in_time(4, 1600.0, 33.3)
    assert faults._another_ends_in_time(99, 1e9, math.inf)


def test_everything_that_is_read_through_the_relay_goes_through_it():
    assert {topic for topics in READERS.values() for topic in topics} == set(TOPICS)
    assert set(READERS) <= {process.name for process in load_graph("sim").processes}


def proposals(count: int) -> list[bytes]:
    made = [msg.RobotAction(sequence=n, state_sequence=n + 100, reference_positions=[0.5] * 7) for n in range(count)]
    return [serialize_message(each) for each in made]


def through(change, count: int = 200) -> list[msg.RobotAction]:
    return [deserialize_message(out, msg.RobotAction) for data in proposals(count) for out in change(data)]


def test_the_relay_loses_doubles_reorders_and_changes():
    generator = np.random.default_rng(0)
    assert through(dropped) == []
    assert [m.sequence for m in through(fault_messages._doubled(generator), 2)] == [0, 0, 0, 1, 1, 1]
    assert [m.sequence for m in through(fault_messages._reordered(generator), 6)] == [1, 0, 3, 2, 5, 4]
    assert 0.2 < 1 - len(through(fault_messages._lossy(generator), 1000)) / 1000 < 0.4
    nan = through(edited(msg.RobotAction, fault_messages._fill("reference_positions", np.nan)), 1)[0]
    assert np.isnan(nan.reference_positions).all()
    assert len(nan.reference_positions) == 7
    assert (
        len(through(edited(msg.RobotAction, fault_messages._shorten("reference_positions")), 1)[0].reference_positions)
        == 6
    )
    assert through(edited(msg.RobotAction, fault_messages._aged(100)), 1)[0].state_sequence == 0
    wild = np.array([m.reference_positions for m in through(fault_messages._wild(generator))])
    assert np.abs(wild).max() > 9.0


def test_a_machine_that_is_late_is_seen():
    with Pulse() as pulse:
        began = time.monotonic()
        busy = time.monotonic()
        sum(range(30_000_000))  # one operation of the interpreter: no other thread is let in
        held = time.monotonic() - busy
        assert wait_until(lambda: pulse.lateness(busy, busy + held) > 0.5 * held, 5.0)
        assert pulse.lateness(began - 10.0, began - 9.0) == 0.0


def late(seconds: float = 2.0) -> float:
    """Largest lateness [s] of a thread that only sleeps, while nothing of ours runs."""
    with Pulse() as pulse:
        began = time.monotonic()
        time.sleep(seconds)
        return pulse.lateness(began, time.monotonic())


def matrix(folder: Path, *arguments: str, timeout: float) -> dict:
    """What `physai faults` wrote; fails with what was seen of the rows that did not pass.

    On a machine that is itself late there is nothing to be said of times: skipped.
    """
    before = late()
    if before >= DISTURBED:
        pytest.skip(f"this machine wakes a thread {1e3 * before:.0f} ms late with nothing of ours running")
    written = folder / "faults.json"
    command = [sys.executable, "-m", "physai_ros.cli.main", "faults", *arguments, "--json", str(written)]
    said = folder / "said.txt"
    with said.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | {"COLUMNS": "200"})
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            code = process.wait(30)
    if not written.exists() and late() >= DISTURBED:
        pytest.skip("this machine became too busy to start a graph")
    assert written.exists(), said.read_text()
    result = json.loads(written.read_text())
    wrong = [row for row in result["rows"] if not row["passed"]]
    failed = [(row["fault"], row["seen"]) for row in wrong if row["late_ms"] < 1e3 * DISTURBED]
    assert not failed
    if wrong:
        pytest.skip(f"this machine was late by {max(row['late_ms'] for row in wrong):.0f} ms four times in a row")
    assert code == 0, said.read_text()
    return result


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_whole_matrix_five_times(tmp_path):
    rows = matrix(tmp_path, "--repeat", "5", timeout=7000)["rows"]
    known, sinks = faults._chosen("")
    assert len(rows) == 5 * (len(known) + len(sinks)) + 2


# Slow until it has passed many times on many machines: it needs two cores for itself, or measures the others.
@pytest.mark.slow
def test_the_most_important_faults_against_a_live_graph(tmp_path):
    result = matrix(tmp_path, "--only", ",".join(SHORT), timeout=240)
    rows = {row["fault"]: row for row in result["rows"]}
    assert set(rows) == {*SHORT, "recordings", "safety_log"}
    assert (result["figures"]["passed"], result["figures"]["failed"]) == (len(rows), 0)
    assert all(row["speed_share"] >= 0.8 for name, row in rows.items() if name in SHORT)
    assert rows["safety_killed"]["detect_ms"] <= 150 >= rows["safety_frozen"]["detect_ms"]
