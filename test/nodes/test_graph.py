"""The control cycle as processes: driver, fusion, inference, safety, operator and episode manager."""

import numpy as np
import pytest

from physai_ros import msg, srv
from physai_ros.evaluation.rollout import Rollout
from physai_ros.experience.episode import Episode, Purpose
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.spec import RobotSpec
from physai_ros.ros import qos
from physai_ros.simulation.physics import shifted_arm
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.task import Scenario

NODES = ("driver_node", "sensor_fusion", "policy_inference", "safety_monitor", "operator", "episode_manager")


def up(graph, registry, mode: str) -> None:
    graph.start("driver_node", task="reach", mode=mode, physics="shifted", shift_seed=3)
    graph.start("sensor_fusion", task="reach")
    graph.start("policy_inference", task="reach", mode=mode, registry=registry)
    graph.start("safety_monitor")
    graph.start("operator", task="reach")
    graph.start("episode_manager", task="reach", registry=registry, seed=5)
    graph.bring_up(*NODES)
    graph.states = graph.hear(msg.RobotState, "robot_state", qos.RECORD)
    graph.commands = graph.hear(msg.SafeCommand, "safe_command", qos.RECORD)
    graph.episodes = graph.hear(msg.EpisodeContext, "episode", qos.LATCHED)
    graph.outcomes = graph.hear(msg.TaskOutcome, "task_outcome", qos.LATCHED)
    graph.wait(lambda: graph.node.count_subscribers("intervention"))


def run(graph, purpose: Purpose, seed: int) -> tuple[msg.EpisodeContext, msg.EpisodeContext]:
    """First and last context of an episode that is run to its end."""
    del graph.episodes[:], graph.outcomes[:]
    answer = graph.call(srv.StartEpisode, "start_episode", srv.StartEpisode.Request(seed=seed, purpose=int(purpose)))
    assert answer.accepted, answer.message
    graph.wait(
        lambda: any(e.phase == e.PHASE_ENDED and e.episode_id == answer.episode_id for e in graph.episodes), 60.0
    )
    begun = next(e for e in graph.episodes if e.phase == e.PHASE_RUNNING)
    assert begun.episode_id == answer.episode_id
    return begun, graph.episodes[-1]


def difference(graph, begun: msg.EpisodeContext, same: Episode) -> float:
    """Largest distance of a joint [rad] between the graph's episode and one in one process, over the states heard."""
    first, series = begun.start_sequence, same.series["joint_positions"]
    graph.wait(lambda: graph.states[-1].sequence >= first + len(same) - 1)
    lived = {s.sequence - first: s.joint_positions for s in graph.states if 0 <= s.sequence - first < len(same)}
    assert len(lived) > 0.5 * len(same)
    return max(float(np.abs(np.array(values) - series[index]).max()) for index, values in lived.items())


@pytest.fixture
def lock_step(graph, registry):
    up(graph, registry, "lock_step")
    return graph


def test_lock_step_does_what_the_same_objects_do_in_one_process(lock_step, registry):
    graph, task = lock_step, load_task("reach")
    rollout = Rollout(
        RobotSpec.load("fr3_sim"), task, physics=shifted_arm(3), policy=PolicyRegistry(registry).load("000001")
    )
    for purpose, seed in ((Purpose.EVALUATE, 11), (Purpose.TRAIN, 12), (Purpose.DEMONSTRATE, 13)):
        begun, ended = run(graph, purpose, seed)
        assert ended.end_reason == "outcome"
        assert ended.policy_version == ("" if purpose == Purpose.DEMONSTRATE else "000001")
        scenario = Scenario.from_json(begun.scenario_json)
        same = rollout.run(scenario, seed, purpose, operator=purpose == Purpose.TRAIN)
        done = next(outcome for outcome in graph.outcomes if outcome.done)
        assert done.episode_id == begun.episode_id
        assert done.success == same.outcome.success
        assert done.failure_mode == same.outcome.failure_mode
        assert done.state_sequence - begun.start_sequence + 1 == len(same)
        assert difference(graph, begun, same) == 0.0
    rollout.close()


def test_paced_runs_at_the_rate_of_the_arm_and_ends_by_label(graph, registry):
    up(graph, registry, "paced")
    request = srv.StartEpisode.Request(purpose=int(Purpose.EVALUATE))
    assert graph.call(srv.StartEpisode, "start_episode", request).accepted
    policy = msg.SafeCommand.SOURCE_POLICY
    graph.wait(lambda: sum(command.source == policy for command in graph.commands) > 30)
    assert not graph.call(srv.StartEpisode, "start_episode", request).accepted
    answer = graph.call(srv.EndEpisode, "end_episode", srv.EndEpisode.Request(label="success"))
    assert answer.accepted
    graph.wait(lambda: graph.episodes and graph.episodes[-1].end_reason == "label")
    graph.wait(lambda: any(outcome.done and outcome.success for outcome in graph.outcomes))
    for name in reversed(NODES):
        code, errors = graph.stop(name)
        assert code == 0, errors
        assert "Traceback" not in errors
