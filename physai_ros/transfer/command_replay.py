"""Recorded commands played again in the simulator: what the arm would have done, had it had these physics."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue

import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.arm import SimulatedArm
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.tasks.task import Scenario, Task
from physai_ros.transfer.episode_end import EpisodeEnd

STRIDE = 10
"""Control cycles from one compared instant to the next: 0.1 s, as a policy decides."""

MOST_CYCLES = 400
"""Control cycles of an episode that are replayed: later an arm that failed stands still, or repeats itself."""

_MOST_THREADS = 4  # more would wait for each other: Python alone can run in one at a time
_STILL = 5  # cycles at the start of an episode over which perceived poses are averaged
_NOISELESS = dict.fromkeys(("encoder_noise", "object_noise", "force_noise", "camera_noise", "depth_noise"), 0.0)


@dataclass(frozen=True)
class Channel:
    """One kind of measurement over an episode: `values` (t, k), `unit`, and the difference that counts as one."""

    name: str
    values: np.ndarray
    unit: str
    tolerance: float


def channels_of(episode: Episode, most_cycles: int = MOST_CYCLES) -> dict[str, Channel]:
    """What is compared of a recorded episode, by name, one row every `STRIDE` cycles; joints are means over these.

    `result` is what the task's test measured at the end: one row, NaN where it says nothing.
    """
    series = episode.series
    rows = slice(0, min(len(episode), most_cycles), STRIDE)
    distance = episode.outcome.evidence.get("distance_to_goal", np.nan)
    poses = series["object_poses"][rows]
    return _channels(
        joints=_means(series["joint_positions"][:most_cycles]),
        gripper=series["gripper_width"][rows],
        wrench=series["wrench"][rows],
        pads=series["contact_forces"][rows],
        positions=poses[:, :, :3].reshape(len(poses), -1),
        yaws=_yaws(poses[:, :, 3:]),
        distance=distance,
    )


class CommandReplay:
    """Plays the permitted commands of recorded episodes on a simulated arm with physics of one's choice.

    Objects start where they were perceived at the episode's start, less the calibration of the physics in question: the
    recording's own scenario is not looked at, since on an arm nobody knows where things really are.
    """

    def __init__(self, spec: RobotSpec, task: Task, threads: int = _MOST_THREADS) -> None:
        """Take robot and task; at most `threads` episodes are replayed at a time, and no more than there are cores."""
        self.task = task
        self._arm = SimulatedArm(spec, task)
        others = min(len(os.sched_getaffinity(0)), threads) - 1
        self._arms: SimpleQueue[SimulatedArm] = SimpleQueue()
        for arm in (self._arm, *(SimulatedArm(spec, task) for _ in range(others))):
            self._arms.put(arm)
        self._threads = ThreadPoolExecutor(others + 1, "command replay")
        self._joints = np.array([self._arm.model.joint(name).qposadr[0] for name in spec.joint_names])
        self._heights = {item.name: item.size[2] for item in task.objects}

    def run(self, episode: Episode, physics: PhysicsParameters, most_cycles: int = MOST_CYCLES) -> dict[str, Channel]:
        """What would have been measured, without noise, in the channels of `channels_of` but the result."""
        arm = self._arms.get()
        try:
            return self._played(arm, episode, physics, most_cycles)
        finally:
            self._arms.put(arm)

    def run_all(
        self, episodes: Sequence[Episode], physics: PhysicsParameters, most_cycles: int = MOST_CYCLES
    ) -> list[dict[str, Channel]]:
        """What `run` gives of each, several at a time: while MuJoCo steps one arm, Python is free for the next."""
        return list(self._threads.map(partial(self.run, physics=physics, most_cycles=most_cycles), episodes))

    def _played(
        self, arm: SimulatedArm, episode: Episode, physics: PhysicsParameters, most_cycles: int
    ) -> dict[str, Channel]:
        series = episode.series
        whole, commands, grips = _delayed(series["commanded_positions"], series["gripper_command"], physics, arm.spec)
        physics = physics.with_values(_NOISELESS | {"actuator_delay": whole})
        arm.reset(self.start(episode, physics), 0, physics)
        joints, gripper, wrench, pads, positions, yaws = [], [], [], [], [], []
        for cycle in range(min(len(episode), most_cycles)):
            if cycle:
                arm.step(commands[cycle], float(grips[cycle]))
            joints.append(arm.snapshot()[self._joints])
            if cycle % STRIDE == 0:
                driver, objects = arm.driver_state(), arm.object_states()
                gripper.append(driver.gripper_width)
                wrench.append(driver.wrench)
                pads.append(driver.contact_forces)
                positions.append(objects.positions.ravel())
                yaws.append(_yaws(objects.quaternions_wxyz[np.newaxis])[0])
        return _channels(
            joints=_means(np.array(joints)),
            gripper=np.array(gripper),
            wrench=np.array(wrench),
            pads=np.array(pads),
            positions=np.array(positions),
            yaws=np.array(yaws),
            distance=np.nan,
        )

    @property
    def finger_axis(self) -> np.ndarray:
        """Direction (3,) in which the fingers close, in the tool's frame."""
        return self._arm.finger_axis

    def end(self, episode: Episode) -> EpisodeEnd:
        """How the episode ended."""
        return EpisodeEnd(self.task, self._arm.kinematics, episode)

    def start(self, episode: Episode, physics: PhysicsParameters) -> Scenario:
        """The episode's start state as it was, had perception been off as these physics say."""
        offset = physics.calibration_x, physics.calibration_y, physics.calibration_z
        half = 0.5 * physics.calibration_yaw
        poses = {}
        for index, name in enumerate(episode.object_names):
            seen = episode.series["object_poses"][:_STILL, index]
            position = seen[:, :3].mean(axis=0) - offset
            position[2] = max(position[2], 0.5 * self._heights[name])  # not inside the table
            w, x, y, z = seen[0, 3:]
            cosine, sine = np.cos(half), -np.sin(half)
            turned = cosine * w - sine * z, cosine * x - sine * y, cosine * y + sine * x, cosine * z + sine * w
            poses[name] = (*map(float, position), *map(float, turned))
        home = tuple(episode.series["commanded_positions"][0].tolist())
        return Scenario({}, poses, episode.context.goal, home)


def _means(values: np.ndarray) -> np.ndarray:
    """Means (ceil(t / STRIDE), k) of values (t, k) from one compared instant to the next: the same with less noise."""
    starts = np.arange(0, len(values), STRIDE)
    lengths = np.minimum(STRIDE, len(values) - starts)
    return np.add.reduceat(values, starts) / lengths[:, np.newaxis]


def _delayed(
    positions: np.ndarray, grips: np.ndarray, physics: PhysicsParameters, spec: RobotSpec
) -> tuple[float, np.ndarray, np.ndarray]:
    """Delay in whole integration steps [s], and commands (t, n) and (t,) that are late or early by the rest of it.

    The simulator knows whole steps alone. What is replayed must depend on the delay smoothly, or its slope means
    nothing: a difference over one and a half steps sees either one or two. The rest, half a step at most, is
    interpolated between neighbouring commands.
    """
    period = spec.control_period
    step = period / max(1, round(period / physics.time_step))
    whole = round(physics.actuator_delay / step) * step
    rest = (physics.actuator_delay - whole) / period
    cycles = np.arange(len(positions))
    neighbours = np.clip(cycles - 1 if rest > 0.0 else cycles + 1, 0, len(positions) - 1)
    share = abs(rest)
    return (
        whole,
        (1.0 - share) * positions + share * positions[neighbours],
        (1.0 - share) * grips + share * grips[neighbours],
    )


def _channels(
    *,
    joints: np.ndarray,
    gripper: np.ndarray,
    wrench: np.ndarray,
    pads: np.ndarray,
    positions: np.ndarray,
    yaws: np.ndarray,
    distance: float,
) -> dict[str, Channel]:
    """The channels with their units and tolerances, which are those of the tasks: what an arm can do with and without.

    Joint angles count by 2 mrad, about 1 mm at the tool; the rest by what is felt in a grasp.
    """
    listed = [
        Channel("joints", joints, "rad", 0.002),
        Channel("gripper", gripper[:, np.newaxis], "m", 0.002),
        Channel("force", wrench[:, :3], "N", 2.0),
        Channel("pads", pads, "N", 2.0),
        Channel("result", np.array([[distance]]), "m", 0.002),
    ]
    if positions.shape[1]:
        listed += [Channel("objects", positions, "m", 0.004), Channel("headings", yaws, "rad", 0.05)]
    return {channel.name: channel for channel in listed}


def _yaws(quaternions_wxyz: np.ndarray) -> np.ndarray:
    """Headings (t, n) [rad] of orientations (t, n, 4)."""
    w, x, y, z = np.moveaxis(quaternions_wxyz, -1, 0)
    return np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
