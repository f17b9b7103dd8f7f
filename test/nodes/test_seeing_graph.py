"""From the camera to the action: a policy that sees and is not told where objects are, in the graph and out of it."""

import numpy as np
import pytest

from physai_ros import msg, srv
from physai_ros.evaluation.rollout import Rollout
from physai_ros.experience.episode import Purpose
from physai_ros.policy.encoder import EncoderShape
from physai_ros.policy.network import Architecture, RobotPolicyNetwork
from physai_ros.policy.observation import ObservationEncoder
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import Modality
from physai_ros.ros import qos
from physai_ros.ros.conversions import to_message
from physai_ros.ros.images import image_message
from physai_ros.simulation.arm import SimulatedArm
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.task import Scenario

SIZE, CAMERAS = 24, ("scene", "wrist")
SPEC, TASK = RobotSpec.load("fr3_sim"), load_task("pick_place")


@pytest.fixture(scope="module")
def seeing(tmp_path_factory):
    """Folder with one active version: an untrained network that sees and is blind to the objects' poses."""
    folder = tmp_path_factory.mktemp("seeing")
    scenario = TASK.sample_scenario(np.random.default_rng(0))
    encoder = ObservationEncoder(Kinematics(SPEC), TASK.features, TASK.action_axes, TASK.action_scale)
    arm = SimulatedArm(SPEC, TASK)
    size = len(encoder.encode(arm.perceived_state(), np.array(scenario.goal)))
    features = len(TASK.features(arm.perceived_state(), np.array(scenario.goal)))
    axes = len(TASK.action_axes)
    senses = EncoderShape.of_observation(features, axes, (SIZE, SIZE, 6), 32, CAMERAS, ("task",), told=(6, 7, 8))
    network = RobotPolicyNetwork(Architecture(size, axes + 1, senses=senses))
    registry = PolicyRegistry(folder)
    manifest = registry.add(network, task=TASK.name, action_axes=TASK.action_axes, action_scale=TASK.action_scale)
    registry.activate(manifest.version)
    return folder


def up(graph, seeing, mode: str, *names: str) -> None:
    cameras = "['" + "','".join(CAMERAS) + "']"
    size = {"camera_height": SIZE, "camera_width": SIZE, "cameras": cameras}
    graph.start("driver_node", task=TASK.name, mode=mode, camera_rate=10.0, **size)
    graph.start("sensor_fusion", task=TASK.name, cameras=cameras, image_height=SIZE, image_width=SIZE)
    graph.start("policy_inference", task=TASK.name, mode=mode, registry=seeing, wait_for_pictures=True)
    graph.start("safety_monitor")
    graph.start("episode_manager", task=TASK.name, registry=seeing)
    graph.bring_up("driver_node", "sensor_fusion", "policy_inference", "safety_monitor", "episode_manager")
    graph.actions = graph.hear(msg.RobotAction, "proposed_action", qos.RECORD)
    graph.states = graph.hear(msg.RobotState, "robot_state", qos.RECORD)
    graph.episodes = graph.hear(msg.EpisodeContext, "episode", qos.LATCHED)
    graph.wait(lambda: graph.node.count_publishers("proposed_action"))


def test_in_lock_step_it_does_what_it_does_in_one_process(graph, seeing):
    up(graph, seeing, "lock_step")
    request = srv.StartEpisode.Request(seed=3, purpose=int(Purpose.EVALUATE))
    assert graph.call(srv.StartEpisode, "start_episode", request).accepted
    graph.wait(lambda: len(graph.actions) > 60)
    begun = next(episode for episode in graph.episodes if episode.phase == episode.PHASE_RUNNING)
    rollout = Rollout(SPEC, TASK, policy=PolicyRegistry(seeing).load("000001"))
    same = rollout.run(Scenario.from_json(begun.scenario_json), 3)
    rollout.close()
    compared = 0
    for action in graph.actions[:60]:
        index = action.state_sequence - begun.start_sequence
        np.testing.assert_array_equal(action.ee_delta, same.series["action_ee_delta"][index])
        compared += 1
    assert compared == 60
    assert len({tuple(action.ee_delta) for action in graph.actions[:60]}) > 3
    assert {m.name for m in graph.states[-1].modalities} >= {"camera/scene", "camera/wrist"}


@pytest.mark.slow
def test_where_a_camera_falls_silent_it_acts_on_without_it_and_says_so(graph, seeing):
    """The test is the cameras: one shows something, the other never does."""
    graph.start("policy_inference", task=TASK.name, registry=seeing)
    graph.bring_up("policy_inference")
    actions = graph.hear(msg.RobotAction, "proposed_action", qos.RECORD)
    states = graph.node.create_publisher(msg.RobotState, "robot_state", qos.CONTROL_WRITER)
    shown = graph.node.create_publisher(msg.Observation, "observation", qos.SENSOR_WRITER)
    episodes = graph.node.create_publisher(msg.EpisodeContext, "episode", qos.LATCHED)
    graph.wait(lambda: states.get_subscription_count() and shown.get_subscription_count())
    scenario = TASK.sample_scenario(np.random.default_rng(0))
    episodes.publish(
        msg.EpisodeContext(phase=1, episode_id="e", task=TASK.name, policy_version="000001", goal=list(scenario.goal))
    )
    state = SimulatedArm(SPEC, TASK).perceived_state()
    state.modalities = (Modality("joints"),)  # perception is silent as well

    def act(sequence: int, picture_stamp: float | None) -> msg.RobotAction:
        state.sequence, state.stamp = sequence, sequence / 100
        if picture_stamp is not None:
            image = image_message(np.full((SIZE, SIZE, 3), 90, np.uint8), picture_stamp, "scene_optical_frame")
            shown.publish(msg.Observation(camera_names=["scene"], images=[image], ages=[0.0]))

        def answered() -> bool:
            states.publish(to_message(state))
            return any(action.state_sequence == sequence for action in actions)

        graph.wait(answered)
        return next(action for action in actions if action.state_sequence == sequence)

    def seen(sequence: int, stamp: float) -> float:
        action = act(sequence, stamp)
        return action.observation_stamp.sec + 1e-9 * action.observation_stamp.nanosec

    blind = act(100, None)
    assert blind.observation_stamp.sec == 1
    # The picture may come after the state: a later policy step has it.
    sequences = iter(range(110, 10_000, 10))
    graph.wait(lambda: seen(sequence := next(sequences), sequence / 100 - 0.05) == pytest.approx(sequence / 100 - 0.05))
    graph.wait(lambda: seen(sequence := next(sequences), 0.5) == pytest.approx(sequence / 100) and sequence > 200)
