"""Hardware node and safety monitor as processes in front of controllers that hold their last command for ever."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

from physai_ros import msg

IN_WRITING = "the test stands at the emergency stop"


def moving(bench) -> None:
    assert bench.press("resume").success, bench.status
    bench.moves = True
    bench.wait(bench.fast)


def test_a_sink_without_a_timeout_is_refused_by_the_node_and_by_safety(bench_of):
    bench = bench_of("velocity")
    bench.start("hardware_node")
    assert not bench.activate("hardware_node")
    errors = bench.errors_of("hardware_node")
    assert "stops by itself after inf s" in errors and "sink_without_timeout" in errors
    bench.start("hardware_node", sink_without_timeout=IN_WRITING)
    assert bench.activate("hardware_node")
    bench.start("safety_monitor", auto_resume=False)
    assert not bench.activate("safety_monitor")
    assert "sink_without_timeout" in bench.errors_of("safety_monitor")
    assert bench.rests()


def test_the_dead_man_rests_a_forward_controller_and_faults_are_named(bench_of, arm):
    bench = bench_of("velocity")
    home = arm.positions.copy()
    bench.start("hardware_node", sink_without_timeout=IN_WRITING, first_motion=0.5)
    assert bench.activate("hardware_node")
    bench.start("safety_monitor", sink_without_timeout=IN_WRITING, auto_resume=False, first_motion=0.5)
    assert bench.activate("safety_monitor")
    bench.wait(lambda: bench.status.state == msg.SafetyStatus.STOPPED)
    assert (arm.positions == home).all()
    moving(bench)
    assert bench.state.commands_refused == 0

    # The arm stops by itself: named by safety, latched, and still until recovery, resume and a command.
    arm.fault = 3
    bench.wait(lambda: {"driver_fault", "driver_reflex"} <= set(bench.status.reasons))
    assert bench.state.fault_text == "safety_mode says data 3"
    refused = bench.press("resume")
    assert not refused.success and "driver/recover" in refused.message
    assert bench.press("driver/recover").success
    bench.wait(lambda: bench.state.fault == msg.DriverState.FAULT_NONE)
    stood = arm.positions.copy()
    bench.moves = False
    assert bench.press("resume").success
    bench.wait(lambda: bench.state.mode == msg.DriverState.MODE_ACTIVE)
    assert np.abs(arm.positions - stood).max() < 1e-3
    bench.moves = True
    bench.wait(bench.fast)

    # Safety freezes: the controller would go on for ever.
    bench.freeze("safety_monitor")
    frozen = time.monotonic()
    bench.wait(lambda: bench.state.mode == msg.DriverState.MODE_STOPPED, 5.0)
    bench.wait(bench.rests, 5.0)
    assert time.monotonic() - frozen < bench.spec.command_timeout + 1.5
    stood = arm.positions.copy()
    # What the policy goes on proposing reaches nobody, and what safety says when it thaws is too late.
    os.kill(bench.processes["safety_monitor"].pid, signal.SIGCONT)
    bench.wait(lambda: "driver_stopped" in bench.status.reasons)
    assert bench.rests() and (arm.positions == stood).all()
    bench.moves = False
    moving(bench)

    # Told to stop while it moves, the node leads the arm to rest before it leaves.
    bench.errors_of("hardware_node")
    assert bench.rests()


def test_a_trajectory_controller_plays_the_verified_stop_when_the_driver_dies(bench_of, arm):
    bench = bench_of("trajectory")
    bench.start("hardware_node")
    assert bench.activate("hardware_node")
    bench.start("safety_monitor", auto_resume=False)
    assert bench.activate("safety_monitor")
    moving(bench)
    bench.processes["hardware_node"].kill()
    killed = time.monotonic()
    bench.wait(bench.rests, 5.0)
    assert time.monotonic() - killed < 2.0
    end = bench.commands[-1].stop.positions[-7:]
    told = [command.stop.positions[-7:] for command in bench.commands[-60:]]
    assert min(np.abs(arm.positions - np.array(each)).max() for each in [end, *told]) < 0.01
    del bench.processes["hardware_node"]
