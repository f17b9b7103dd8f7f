"""The fusion as a process, with a driver that the test plays."""

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float32MultiArray

from physai_ros import msg
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverState, ObjectStates, RobotState
from physai_ros.ros import qos
from physai_ros.ros.conversions import from_message, to_message
from physai_ros.ros.images import depth_array, depth_message, image_message
from physai_ros.ros.observations import pictures_of
from physai_ros.ros.stamps import set_time

SPEC = RobotSpec.load("fr3_sim")


def driver_state(sequence: int, **changes: object) -> DriverState:
    still = np.zeros(7)
    values = {"joint_names": SPEC.joint_names, "joint_positions": SPEC.home_positions, "joint_velocities": still}
    values |= {"joint_torques": still, "commanded_positions": SPEC.home_positions, "lock_step": True}
    return DriverState(stamp=sequence / 100, sequence=sequence, **(values | changes))


def objects(sequence: int) -> ObjectStates:
    poses = np.array([[0.4, 0.0, sequence / 1000]])
    return ObjectStates(sequence / 100, sequence, ("cube",), poses, np.array([[1.0, 0.0, 0.0, 0.0]]))


@pytest.fixture
def fusion(graph):
    graph.start("sensor_fusion", task="pick_place")
    graph.bring_up("sensor_fusion")
    graph.states = graph.hear(msg.RobotState, "robot_state", qos.RECORD)
    graph.drive = graph.node.create_publisher(msg.DriverState, "driver_state", qos.CONTROL_WRITER)
    graph.see = graph.node.create_publisher(msg.ObjectStates, "objects", qos.CONTROL_WRITER)
    graph.wait(lambda: graph.drive.get_subscription_count() and graph.see.get_subscription_count())
    graph.wait(lambda: graph.node.count_publishers("robot_state"))
    return graph


def fuse(graph, state: DriverState, *, objects_first: bool = True) -> RobotState:
    """What the fusion makes of a driver state and the objects of the same instant, whichever comes first."""
    messages = [(graph.see, to_message(objects(state.sequence))), (graph.drive, to_message(state))]

    def answered() -> bool:
        for publisher, message in messages if objects_first else reversed(messages):
            publisher.publish(message)  # as a lock-step driver does, until somebody answers
        graph.wait(lambda: True)
        return bool(graph.states) and graph.states[-1].sequence == state.sequence

    graph.wait(answered)
    return from_message(graph.states[-1])


def test_every_joint_sample_makes_a_state_of_its_own_instant(fusion):
    for sequence in range(1, 40):
        state = fuse(fusion, driver_state(sequence), objects_first=sequence % 2 == 0)
        assert state.object_poses["cube"][2] == sequence / 1000
        assert state.stamp == sequence / 100
    order = [5, 1, 0, 3, 6, 2, 4]
    shuffled = driver_state(
        40,
        joint_names=tuple(SPEC.joint_names[i] for i in order),
        joint_positions=SPEC.home_positions[order],
        commanded_positions=SPEC.home_positions[order],
    )
    again = fuse(fusion, shuffled)
    assert np.array_equal(again.joint_positions, state.joint_positions)
    assert np.array_equal(again.ee_position, state.ee_position)
    broken = fuse(fusion, driver_state(41, joint_positions=np.full(7, np.nan)))
    assert not broken.modality("joints").valid
    assert "not finite" in broken.modality("joints").reason
    code, errors = fusion.stop("sensor_fusion")
    assert code == 0, errors
    assert "Traceback" not in errors


def test_what_comes_again_or_overtaken_makes_no_state_and_a_driver_that_restarted_does(fusion):
    def drive(sequence: int) -> None:
        fusion.see.publish(to_message(objects(sequence)))
        fusion.drive.publish(to_message(driver_state(sequence, lock_step=False)))

    def fused() -> list[int]:
        return [state.sequence for state in fusion.states]

    for sequence in (20, 20, 21, 19, 20, 21, 22):
        drive(sequence)
        fusion.wait(lambda sequence=sequence: fused() and fused()[-1] >= sequence)
    drive(3)
    fusion.wait(lambda: fused()[-1] == 3)
    assert fused() == [20, 21, 22, 3]


def test_in_lock_step_a_picture_that_is_sent_again_is_shown_again(graph):
    """A policy waits for the pictures of its instant, and no message is sure to arrive."""
    graph.start("sensor_fusion", task="reach", cameras="[scene]", image_height=8, image_width=8)
    graph.bring_up("sensor_fusion")
    shown = graph.hear(msg.Observation, "observation", qos.SENSOR)
    drive = graph.node.create_publisher(msg.DriverState, "driver_state", qos.CONTROL_WRITER)
    look = graph.node.create_publisher(Image, "camera/scene/image_raw", qos.SENSOR_WRITER)

    def repeated() -> bool:
        drive.publish(to_message(driver_state(3)))
        look.publish(image_message(np.full((16, 16, 3), 90, np.uint8), 0.03, "scene_optical_frame"))
        return len(shown) >= 3

    graph.wait(repeated)
    assert {each.state_sequence for each in shown} == {3}


def test_further_joints_taxels_and_depth_are_senses_of_their_own(graph):
    graph.start(
        "sensor_fusion",
        task="reach",
        joint_topics="[hand/joint_states]",
        tactile_topic="taxels",
        tactile_newtons=0.5,
        depth_cameras="[wrist]",
        image_height=8,
        image_width=9,
    )
    graph.bring_up("sensor_fusion")
    states = graph.hear(msg.RobotState, "robot_state", qos.RECORD)
    shown = graph.hear(msg.Observation, "depth_observation", qos.SENSOR)
    writers = {
        topic: graph.node.create_publisher(kind, topic, qos.SENSOR_WRITER)
        for topic, kind in {
            "driver_state": msg.DriverState,
            "hand/joint_states": JointState,
            "taxels": Float32MultiArray,
            "camera/wrist/depth/image_raw": Image,
            "camera/wrist/depth/camera_info": CameraInfo,
        }.items()
    }
    graph.wait(lambda: all(writer.get_subscription_count() for writer in writers.values()))
    graph.wait(lambda: graph.node.count_publishers("robot_state") and graph.node.count_publishers("depth_observation"))
    wanted = {"joints", "contacts", "gripper", "joints/hand/joint_states", "camera/wrist/depth"}
    info = CameraInfo(height=16, width=18, k=[5.0, 0.0, 2.5, 0.0, 5.0, 1.5, 0.0, 0.0, 1.0])
    sequence = 0

    def heard(condition) -> RobotState:
        """The first state that the condition holds of, while everything goes on."""
        nonlocal sequence
        sequence += 1
        now = graph.node.get_clock().now().nanoseconds / 1e9
        hand = JointState(name=[*SPEC.gripper.joints, "rail"], position=[0.02, 0.02, 1.5])
        set_time(hand.header.stamp, now)
        set_time(info.header.stamp, now)
        writers["hand/joint_states"].publish(hand)
        writers["taxels"].publish(Float32MultiArray(data=[1.0, 2.0, 3.0, 4.0]))
        writers["camera/wrist/depth/image_raw"].publish(depth_message(np.full((16, 18), 0.7, np.float32), now, ""))
        writers["camera/wrist/depth/camera_info"].publish(info)
        state = driver_state(sequence, lock_step=False)
        state.stamp = now
        writers["driver_state"].publish(to_message(state))
        return any(map(condition, map(from_message, states)))

    graph.wait(lambda: heard(lambda state: all(state.modality(name).valid for name in wanted)))
    state = next(s for s in map(from_message, states) if all(s.modality(name).valid for name in wanted))
    assert state.joint_names == SPEC.joint_names
    assert state.further_joints["rail"][0] == 1.5
    assert state.gripper_width == 0.04
    assert state.contact_forces.tolist() == [1.5, 3.5]
    graph.wait(lambda: shown)
    assert depth_array(shown[0].images[0]).tolist() == np.full((8, 9), 0.7, np.float32).tolist()
    with pytest.raises(ValueError, match="expected one of rgb8"):
        pictures_of(shown[0])  # depth never passes for a picture
    info.width = 12
    graph.wait(lambda: heard(lambda s: s.modality("camera/wrist/depth").reason.startswith("calibration:")))
    code, errors = graph.stop("sensor_fusion")
    assert code == 0, errors
    assert "Traceback" not in errors
