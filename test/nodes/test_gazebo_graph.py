"""The graph on the arm in Gazebo, through a stand-in of MuJoCo that has exactly what would be bridged."""

import time

import numpy as np
import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64

from physai_ros import msg, srv
from physai_ros.deployment.graph import load_graph
from physai_ros.experience.episode import Purpose
from physai_ros.robot.spec import RobotSpec
from physai_ros.ros import qos
from physai_ros.ros.gazebo.services import (
    Control,
    ControlService,
    PoseService,
    control_request,
    pose_request,
    read_control,
    read_pose,
    succeeded,
)
from physai_ros.simulation.gazebo.bridge import CONTROL_SERVICE, SERVICES, bridged_topics
from physai_ros.tasks.catalog import load_task

SPEC = RobotSpec.load("fr3_sim")
TASK = load_task("pick_place")
NODES = ("gazebo_driver", "sensor_fusion", "policy_inference", "safety_monitor", "operator", "episode_manager")


def up(graph, registry, mode: str) -> None:
    graph.start("gazebo_stand_in")
    graph.start("gazebo_driver", mode=mode)
    graph.start("sensor_fusion")
    graph.start("policy_inference", mode=mode, registry=registry)
    graph.start("safety_monitor")
    graph.start("operator")
    graph.start("episode_manager", registry=registry, seed=5)
    graph.wait(lambda: graph.node.count_publishers("gazebo/joint_states"), 60.0)  # the driver has less patience
    graph.bring_up(*NODES)
    graph.episodes = graph.hear(msg.EpisodeContext, "episode", qos.LATCHED)
    graph.outcomes = graph.hear(msg.TaskOutcome, "task_outcome", qos.LATCHED)
    graph.wait(lambda: graph.node.count_subscribers("intervention"))


def run(graph, task: str, purpose: Purpose, seed: int) -> tuple[msg.EpisodeContext, msg.TaskOutcome]:
    """Last context and outcome of an episode that is run to its end."""
    del graph.episodes[:], graph.outcomes[:]
    request = srv.StartEpisode.Request(task=task, seed=seed, purpose=int(purpose))
    answer = graph.call(srv.StartEpisode, "start_episode", request)
    assert answer.accepted, answer.message
    graph.wait(
        lambda: any(e.phase == e.PHASE_ENDED and e.episode_id == answer.episode_id for e in graph.episodes), 90.0
    )
    graph.wait(lambda: any(o.done and o.episode_id == answer.episode_id for o in graph.outcomes))
    return graph.episodes[-1], next(o for o in graph.outcomes if o.done)


def test_the_graph_reaches_and_places_in_lock_step(graph, taught_run):
    up(graph, taught_run / "registry", "lock_step")
    joints = graph.hear(JointState, "gazebo/joint_states", qos.RECORD)
    clock = graph.hear(Clock, "/clock", qos.RECORD)
    states = graph.hear(msg.DriverState, "driver_state", qos.RECORD)
    told = {name: graph.hear(Float64, f"gazebo/{name}/command", qos.RECORD) for name in SPEC.joint_names}
    commands = graph.hear(msg.SafeCommand, "safe_command", qos.RECORD)
    # By the policy that learned in the embedded simulator, and by the task's expert.
    for task, purpose in (("reach", Purpose.EVALUATE), ("pick_place", Purpose.DEMONSTRATE)):
        ended, outcome = run(graph, task, purpose, 3)
        assert (ended.end_reason, outcome.success) == ("outcome", True), outcome.failure_mode
        assert ended.policy_version == ("000001" if purpose == Purpose.EVALUATE else "")
    # What each joint was told is what was permitted, to the last bit; the rest led it to the start postures.
    for joint, name in enumerate(SPEC.joint_names):
        permitted = {command.positions[joint] for command in commands if command.source != command.SOURCE_HOLD}
        assert len(permitted) > 100 and len(permitted & {message.data for message in told[name]}) > 0.9 * len(permitted)
    # Nothing ran back, and what the driver says is what was bridged.
    times = [c.clock.sec + c.clock.nanosec / 1e9 for c in clock]
    assert (np.diff(times) >= 0).all()
    measured = {(j.header.stamp.sec, j.header.stamp.nanosec): j for j in joints}
    seen = [s for s in states if (s.header.stamp.sec, s.header.stamp.nanosec) in measured]
    assert len(seen) > 200
    for state in seen:
        joint = measured[state.header.stamp.sec, state.header.stamp.nanosec]
        assert list(state.joint_positions) == [joint.position[joint.name.index(n)] for n in state.joint_names]
    # Another scenario of an unknown object is refused in words.
    refused = graph.call(srv.ResetWorld, "reset_world", srv.ResetWorld.Request(task="physai_ros.tasks.laps:Laps"))
    assert not refused.success and "needs 'post'" in refused.message


def test_exactly_what_is_bridged_is_offered(graph):
    graph.start("gazebo_stand_in")
    topics = bridged_topics(SPEC, TASK)
    here = {t for t in topics if not t.ros_type_name.startswith("ros_gz_interfaces")}
    there = ("gazebo_stand_in", graph.namespace)
    graph.wait(lambda: there in graph.node.get_node_names_and_namespaces())
    node = graph.node

    def offered(names_and_types) -> dict[str, str]:
        own = {"/rosout", "/parameter_events"}
        return {name: kinds[0] for name, kinds in names_and_types if name not in own}

    def full(name: str) -> str:
        return name if name.startswith("/") else f"{graph.namespace}/{name}"

    written = {full(t.ros_topic_name): t.ros_type_name for t in here if t.direction == "GZ_TO_ROS"}
    heard = {full(t.ros_topic_name): t.ros_type_name for t in here if t.direction == "ROS_TO_GZ"}
    services = {name for name, _ in SERVICES}
    graph.wait(lambda: offered(node.get_publisher_names_and_types_by_node(*there)) == written)
    graph.wait(lambda: offered(node.get_subscriber_names_and_types_by_node(*there)) == heard)
    graph.wait(lambda: services <= {name for name, _ in node.get_service_names_and_types_by_node(*there)})
    # It runs, until it is paused; then it takes the steps that it is asked for.
    clock = graph.hear(Clock, "/clock", qos.RECORD)
    graph.wait(lambda: clock)
    assert succeeded(graph.call(ControlService, CONTROL_SERVICE, control_request(Control(pause=True))))
    assert succeeded(graph.call(ControlService, CONTROL_SERVICE, control_request(Control(pause=True, multi_step=10))))
    last = -1
    while len(clock) != last:  # what was on its way has come when the step has
        last = len(clock)
        time.sleep(0.2)
    del clock[:]
    assert succeeded(graph.call(ControlService, CONTROL_SERVICE, control_request(Control(pause=True, multi_step=30))))
    graph.wait(lambda: len(clock) >= 3)
    assert len(clock) == 3  # and it stands again


@pytest.mark.parametrize("control", [Control(True), Control(False), Control(True, 10)])
def test_requests_say_the_same_at_both_ends(control):
    assert read_control(control_request(control)) == control
    pose = np.array([0.1, -0.2, 0.3, 0.5, 0.5, -0.5, 0.5])
    name, read = read_pose(pose_request("cube", pose))
    assert name == "cube" and (read == pose).all()
    assert not succeeded(PoseService.Response())


def test_the_described_graph_is_that_of_the_simulator_but_for_its_driver():
    here, there = load_graph("gazebo").in_order, load_graph("sim").in_order
    assert [p.executable for p in here[1:]] == [p.executable for p in there[1:]]
    assert here[0].executable == "gazebo_driver"
