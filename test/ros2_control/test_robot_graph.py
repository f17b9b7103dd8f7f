"""The graph `robot` on an arm behind ros2_control: a person sets up, a policy acts, what it may reaches the arm."""

from __future__ import annotations

import numpy as np
import pytest
from std_msgs.msg import String

from physai_ros import msg, srv
from physai_ros.deployment.graph import load_graph
from physai_ros.deployment.parameters import need_robot, set_everywhere
from physai_ros.ros import qos

NODES = ("sensor_fusion", "safety_monitor", "policy_inference", "workcell", "episode_manager")


def test_an_episode_is_set_up_by_a_person_and_what_is_permitted_reaches_the_arm(bench_of, arm, taught_run):
    bench, registry = bench_of("trajectory"), taught_run / "registry"
    arm.positions = arm.positions + 0.12  # somebody moved it
    requests: list[String] = []
    episodes: list[msg.EpisodeContext] = []
    bench.node.create_subscription(String, "workcell_request", requests.append, qos.LATCHED)
    bench.node.create_subscription(msg.EpisodeContext, "episode", episodes.append, qos.LATCHED)
    bench.start("hardware_node")
    assert bench.activate("hardware_node")
    bench.start("sensor_fusion", task="reach")
    bench.start("safety_monitor", auto_resume=False, first_motion=3.0)
    bench.start("policy_inference", task="reach", registry=registry)
    bench.start("workcell", task="reach", judge=False)  # a person does
    bench.start("episode_manager", task="reach", registry=registry, ask_again=0.1)
    for name in NODES:
        assert bench.activate(name), name
    request = srv.StartEpisode.Request(task="reach", purpose=1, seed=4)
    bench.wait(
        lambda: bench.call(srv.StartEpisode, "start_episode", request).accepted
    )  # once it has found the workcell
    bench.wait(lambda: requests and "confirm_reset" in requests[-1].data)
    assert "not active" in bench.press("go_home").message
    assert "call go_home" in bench.press("confirm_reset").message
    assert bench.rests()
    assert bench.press("resume").success
    bench.wait(lambda: bench.press("go_home").success)  # from the next state on it is known that the driver is active
    bench.wait(bench.fast)
    assert bench.press("emergency_stop").success
    bench.wait(bench.rests)
    bench.wait(lambda: bench.press("resume").success)
    stood, newest = arm.positions.copy(), bench.commands[-1].sequence
    bench.wait(lambda: bench.commands[-1].sequence > newest + 30)
    assert np.abs(arm.positions - stood).max() < 1e-3  # who resumes has not asked for the way home again
    assert bench.press("go_home").success
    bench.wait(lambda: np.abs(arm.positions - bench.spec.home_positions).max() < 0.02 and bench.rests(), 30.0)
    assert not any(e.phase == e.PHASE_RUNNING for e in episodes)
    bench.wait(lambda: bench.press("confirm_reset").success)
    bench.wait(lambda: any(e.phase == e.PHASE_RUNNING for e in episodes), 30.0)
    del arm.heard[:], bench.commands[:]
    bench.wait(lambda: sum(c.source == c.SOURCE_POLICY for c in bench.commands) > 60, 30.0)
    bench.wait(bench.fast)
    told = [list(m.points[0].positions) for m in arm.heard if hasattr(m, "points")]
    newest = bench.commands[-1].sequence
    bench.wait(lambda: bench.commands[-1].sequence > newest + 20)  # what was told is what we have heard of by now
    permitted = {tuple(c.positions) for c in bench.commands}
    stops = {tuple(row) for c in bench.commands for row in np.array(c.stop.positions).reshape(-1, 7)}
    recent = told[10:]  # older ones answer commands from before we listened
    assert len(recent) > 20
    assert all(tuple(positions) in permitted | stops for positions in recent)
    assert sum(tuple(positions) in permitted for positions in recent) > 0.5 * len(recent)
    ended = bench.call(srv.EndEpisode, "end_episode", srv.EndEpisode.Request(label="success"))
    assert ended.accepted
    bench.wait(lambda: episodes[-1].phase == msg.EpisodeContext.PHASE_ENDED and episodes[-1].end_reason == "label")


def test_the_graph_wants_to_know_its_arm():
    graph = load_graph("robot")
    assert not graph.simulated
    with pytest.raises(ValueError, match="give --robot, one of .*fr3_sim"):
        need_robot(graph, {})
    chosen: dict = {"safety_monitor": {"robot": "other.yaml"}}
    set_everywhere(graph, chosen, "robot", "fr3_sim")
    need_robot(graph, chosen)
    assert chosen["hardware_node"]["robot"] == "fr3_sim"
    assert chosen["safety_monitor"]["robot"] == "other.yaml"  # who named it by node meant it
    need_robot(load_graph("sim"), {})
    with pytest.raises(ValueError, match="names no 'robot'"):
        set_everywhere(load_graph("sim"), {}, "robot", "fr3_sim")
