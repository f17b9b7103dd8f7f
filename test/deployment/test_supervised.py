"""Promises of a running graph, kept by real processes."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from physai_ros.deployment.claims import ClaimedError
from physai_ros.deployment.shared_memory import living_processes, mapped_segments
from physai_ros.deployment.supervised import SupervisedGraph


def wait_for(condition, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)


def log_has(graph, name, text):
    return graph.log(name).is_file() and text in graph.log(name).read_text()


def litter(names):
    """Return those segments that exist though no living process maps them; others on this machine make their own."""
    in_use = set().union(*(mapped_segments(pid) for pid in living_processes()))
    return {name for name in names - in_use if Path("/dev/shm", name).exists()}


def has_become(running, name):
    """Whether the wrapper of a process is by now the program that it was given."""
    pid = running.pid(name)
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") if pid else []
    return len(words) > 1 and name.encode() in words[1]


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_nodes_come_up_are_restarted_and_come_up_again(tmp_path, namespace, tiny, manager, graph_of, monkeypatch):
    # As for a user who chose shared memory, which killed processes leave behind.
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "")
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    graph = graph_of(tiny("second", order=2), tiny("first", order=1), manager)
    with SupervisedGraph(graph, tmp_path / "run", namespace=namespace) as running:
        wait_for(lambda: log_has(running, "lifecycle_manager", "all 2 nodes active"))
        said = running.log("lifecycle_manager").read_text()
        assert said.index("first is active") < said.index("second is active")

        own = set().union(*(mapped_segments(status.pid) for status in running.statuses()))
        assert own
        victim = running.pid("second")
        running.signal("second", signal.SIGKILL)
        wait_for(lambda: running.pid("second") not in (0, victim))
        wait_for(lambda: running.log("lifecycle_manager").read_text().count("second is active") == 2)

        # A frozen node is noticed, and holds up neither the manager nor the stop.
        running.signal("first", signal.SIGSTOP)
        wait_for(lambda: log_has(running, "lifecycle_manager", "first does not answer"))
        pids = [status.pid for status in running.statuses()]
        own |= set().union(*(mapped_segments(pid) for pid in pids))
        took = running.stop()
    assert took < 5.0
    assert not any(runs(pid) for pid in pids)
    assert not litter(own)


def test_a_node_that_refuses_stops_the_bring_up_with_its_name(tmp_path, namespace, tiny, manager, graph_of):
    graph = graph_of(tiny("refusing", parameters={"refuse": True}), manager)
    with SupervisedGraph(graph, tmp_path / "run", namespace=namespace) as running:
        wait_for(lambda: log_has(running, "lifecycle_manager", "refusing cannot be brought up"))
        wait_for(lambda: {s.name: s.state for s in running.statuses()}["lifecycle_manager"] == "EXITED")


def test_a_stop_is_over_within_five_seconds_even_against_resistance(tmp_path, namespace, stubborn, graph_of):
    running = SupervisedGraph(graph_of(stubborn), tmp_path / "run", namespace=namespace)
    running.start()
    wait_for(lambda: running.pid("stubborn"))
    pid = running.pid("stubborn")
    assert running.stop() < 5.0
    assert not runs(pid)


@pytest.mark.parametrize("mode", ["paced", "lock_step"])
def test_control_goes_before_all_else_where_the_clock_drives_time(tmp_path, namespace, stubborn, graph_of, mode):
    control = replace(stubborn, realtime_priority=7, parameters={"mode": mode})
    with SupervisedGraph(graph_of(control), tmp_path / "run", namespace=namespace) as running:
        wait_for(lambda: has_become(running, "stubborn"))
        refused = "no real-time priority 7" in running.log("stubborn").read_text()
        policy = os.sched_getscheduler(running.pid("stubborn"))
    if mode == "paced":
        assert (policy == os.SCHED_FIFO) != refused  # where the system does not permit it, the log says so
    else:
        assert policy == os.SCHED_OTHER and not refused


def test_a_second_graph_in_the_same_namespace_is_refused_and_in_another_is_not(tmp_path, namespace, stubborn, graph_of):
    graph = graph_of(stubborn)
    with SupervisedGraph(graph, tmp_path / "one", namespace=namespace) as first:
        (tmp_path / "two").mkdir()
        second = SupervisedGraph(graph, tmp_path / "two", namespace=f"/{namespace}/")
        with pytest.raises(ClaimedError, match="already in use by physai graph tiny"):
            second.start()
        assert not (tmp_path / "two").exists()
        with SupervisedGraph(graph, tmp_path / "three", namespace=f"{namespace}_b") as third:
            wait_for(lambda: third.pid("stubborn"))
        assert first.pid("stubborn")
    second.start()
    second.stop()


def test_nothing_is_left_when_up_itself_is_killed(tmp_path, namespace, tiny):
    process = tiny("orphan")
    graph_file = tmp_path / "small.yaml"
    graph_file.write_text(yaml.safe_dump({"processes": [{"executable": process.executable, "name": "orphan"}]}))
    run = tmp_path / "run"
    up = [sys.executable, "-m", "physai_ros.cli.main", "up", str(graph_file), "--namespace", namespace]
    started = subprocess.Popen([*up, "--run", str(run)], stdout=subprocess.DEVNULL)
    try:
        log = run / "logs" / "supervisord.log"
        wait_for(lambda: log.is_file() and "entered RUNNING" in log.read_text())
        pids = [int(pid) for pid in re.findall(r"pid (\d+)", log.read_text())]
        assert len(pids) == 2  # supervisord and the node
    finally:
        started.kill()
        started.wait()
    wait_for(lambda: not any(runs(pid) for pid in pids), 5.0)


def test_up_stops_on_request_and_says_so(tmp_path, namespace, tiny):
    graph_file = tmp_path / "small.yaml"
    graph_file.write_text(yaml.safe_dump({"processes": [{"executable": tiny("one").executable}]}))
    up = [sys.executable, "-m", "physai_ros.cli.main", "up", str(graph_file), "--namespace", namespace]
    started = subprocess.Popen([*up, "--run", str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert "1 nodes" in started.stdout.readline()
    started.send_signal(signal.SIGINT)
    said = started.communicate(timeout=10)[0]
    assert re.search(r"stopped in [0-4]\.\d s", said)
    assert started.returncode == 0


def test_up_fails_with_one_line_when_a_needed_node_cannot_run(tmp_path, namespace):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'no such camera; plug it in'\nexit 1\n")
    broken.chmod(0o755)
    graph_file = tmp_path / "small.yaml"
    graph_file.write_text(yaml.safe_dump({"processes": [{"executable": str(broken)}]}))
    up = [sys.executable, "-m", "physai_ros.cli.main", "up", str(graph_file), "--namespace", namespace]
    finished = subprocess.run([*up, "--run", str(tmp_path / "run")], capture_output=True, text=True, timeout=30)
    assert finished.returncode == 1
    assert finished.stderr.count("\n") == 1
    assert "no such camera; plug it in" in finished.stderr


def test_up_ends_with_one_line_when_a_node_does_not_know_a_parameter(tmp_path, namespace):
    graph_file = tmp_path / "small.yaml"
    graph_file.write_text(yaml.safe_dump({"processes": [{"executable": "sensor_fusion"}]}))
    up = [sys.executable, "-m", "physai_ros.cli.main", "up", str(graph_file), "--namespace", namespace]
    up += ["--run", str(tmp_path / "run"), "--set", "sensor_fusion.colour=1"]
    finished = subprocess.run(up, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 1
    assert finished.stderr.count("\n") == 1
    assert "unknown parameter 'colour'; known are: cameras" in finished.stderr
