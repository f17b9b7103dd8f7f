"""Task `pick_place`: pick up a cube and put it down at a goal on the table."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from physai_ros.robot.rotation import rotation_matrix, yaw_of
from physai_ros.robot.state import RobotState
from physai_ros.tasks.task import Expert, ObjectSpec, Outcome, Scenario, Task, TaskAction, TaskTest

CUBE = "cube"
SIDE = 0.04  # [m]
TOLERANCE = 0.03  # [m] from the goal, on the table
LIFTED = SIDE / 2 + 0.02  # [m] height of the cube's centre above which it counts as lifted
SEPARATION = 0.08  # [m] least distance from the cube's start to the goal
REACH_LOWER, REACH_UPPER = np.array([0.28, -0.34]), np.array([0.70, 0.34])  # [m] where the arm can still get the cube
FINE = 0.02  # [m] scale of the fine features


class PickPlace(Task):
    """Pick up the cube and put it down within 3 cm of the goal, released and at rest."""

    name = "pick_place"
    instruction = "pick up the cube and put it down at the goal"
    objects = (ObjectSpec(CUBE, (SIDE, SIDE, SIDE), 0.1, (0.85, 0.25, 0.2, 1.0)),)
    time_limit = 9.0  # twice what a demonstration takes
    force_budget = 40.0

    @property
    def scenario_bounds(self) -> dict[str, tuple[float, float]]:
        """Start of the cube and goal [m], heading of the cube [rad]; within 45 degrees, where a cube looks the same."""
        return {
            "cube_x": (0.38, 0.58),
            "cube_y": (-0.20, 0.20),
            "cube_yaw": (-0.6, 0.6),
            "goal_x": (0.38, 0.58),
            "goal_y": (-0.20, 0.20),
        }

    def scenario(self, parameters: dict[str, float]) -> Scenario:
        """The scenario of these parameters; a goal too near to the cube is moved away to the least distance."""
        bounds = self.scenario_bounds
        if set(parameters) != set(bounds):
            raise ValueError(f"parameters are {', '.join(sorted(parameters))}; {self.name} takes {', '.join(bounds)}")
        cube = np.array([parameters["cube_x"], parameters["cube_y"]])
        offset = np.array([parameters["goal_x"], parameters["goal_y"]]) - cube
        distance = float(np.linalg.norm(offset))
        if distance < SEPARATION:
            direction = offset / distance if distance > 1e-9 else np.array([0.0, 1.0])
            offset = direction * SEPARATION
            for axis, name in enumerate(("goal_x", "goal_y")):
                low, high = bounds[name]
                if not low <= cube[axis] + offset[axis] <= high:
                    offset[axis] = -offset[axis]
        goal = cube + offset
        half_yaw = 0.5 * parameters["cube_yaw"]
        return Scenario(
            parameters=dict(parameters),
            object_poses={
                CUBE: (*map(float, cube), SIDE / 2, float(np.cos(half_yaw)), 0.0, 0.0, float(np.sin(half_yaw)))
            },
            goal=(float(goal[0]), float(goal[1]), SIDE / 2),
        )

    def features(self, state: RobotState, goal: np.ndarray) -> np.ndarray:
        """(23,): cube to tool, goal to cube, goal to tool, coarse [m] and fine [1]; heading; heights; opening."""
        cube = state.object_poses[CUBE]
        relative = np.concatenate([cube[:3] - state.ee_position, goal - cube[:3], goal - state.ee_position])
        turn = 4.0 * heading_error(state)
        return np.concatenate(
            [
                relative,
                np.tanh(relative / FINE),
                [np.sin(turn), np.cos(turn), cube[2], state.ee_position[2], state.gripper_width],
            ]
        )

    def remaining(self, state: RobotState, goal: np.ndarray) -> float:
        """Path that is left [m]: of the cube to the goal, and of the tool to the cube while it is not held."""
        cube = state.object_poses[CUBE][:3]
        to_goal = float(np.linalg.norm(goal[:2] - cube[:2]))
        held = holds_cube(state)
        if not held and to_goal < TOLERANCE and cube[2] < LIFTED:
            return 0.0
        to_lift = 0.0 if held else float(np.linalg.norm(cube - state.ee_position)) + 0.1
        return to_goal + to_lift + 0.05

    def achieved_goal(self, state: RobotState) -> np.ndarray | None:
        """Where the cube lies (3,) [m]; None while it is held or in the air."""
        cube = state.object_poses[CUBE][:3]
        if holds_cube(state) or not cube[2] < SIDE / 2 + 0.01:
            return None
        return np.array([cube[0], cube[1], SIDE / 2])

    def mishap(self, state: RobotState, goal: np.ndarray) -> str:
        """`closed_on_nothing` or `out_of_reach` where that is so, else nothing."""
        cube = state.object_poses[CUBE][:3]
        if out_of_reach(cube):
            return "out_of_reach"
        if state.gripper_command < 0 and state.gripper_width < 0.25 * SIDE:
            return "closed_on_nothing"
        return ""

    def test(self) -> TaskTest:
        """A fresh success test."""
        return PickPlaceTest(self)

    def expert(self, generator: np.random.Generator) -> Expert:
        """A fresh scripted expert; its carrying height varies a little, as a person's does."""
        return PickPlaceExpert(self, carry_height=float(generator.uniform(0.09, 0.12)))


def heading_error(state: RobotState) -> float:
    """Turn about z [rad] from the fingers to the cube's nearest side, in -pi/4 ... pi/4."""
    tool = rotation_matrix(state.ee_orientation)
    error = float(yaw_of(state.object_poses[CUBE][3:])) - np.arctan2(tool[1, 0], tool[0, 0])
    return float((error + np.pi / 4) % (np.pi / 2) - np.pi / 4)


def holds_cube(state: RobotState) -> bool:
    """Whether the cube is between closed fingers that feel it."""
    cube = state.object_poses[CUBE][:3]
    return bool(
        state.gripper_command < 0
        and 0.5 * SIDE < state.gripper_width < 1.6 * SIDE
        and state.contact_forces.min() > 1.0
        and math.dist(cube, state.ee_position) < SIDE
    )


def out_of_reach(cube: np.ndarray) -> bool:
    """Whether the cube (3,) [m] was pushed or thrown to where the arm cannot get it."""
    across = cube[:2]
    return bool(cube[2] < -0.05) or any(((across < REACH_LOWER) | (across > REACH_UPPER)).tolist())


class PickPlaceTest(TaskTest):
    """Success: lifted once, then within tolerance of the goal, on the table, released and at rest for 0.3 s."""

    REST = 0.3  # [s]
    CONTACT = 0.05  # [s] above the force budget until it is a collision

    def __init__(self, task: PickPlace) -> None:
        self._task = task
        self._outcome = Outcome(stage="reach")
        self._track: deque[tuple[float, np.ndarray]] = deque()
        self._lifted = self._dropped = False
        self._grasps = self._losses = 0
        self._held = False
        self._over_since: float | None = None
        self._peak_force = self._peak_height = 0.0

    def update(self, state: RobotState, elapsed: float, goal: np.ndarray) -> Outcome:
        """Outcome after one more state; a failure names the last thing that went wrong."""
        if self._outcome.done:
            return self._outcome
        cube = state.object_poses[CUBE][:3]
        distance = math.dist(cube[:2], goal[:2])
        force = math.hypot(*state.wrench[:3])
        self._peak_force = max(self._peak_force, force)
        self._peak_height = max(self._peak_height, float(cube[2]))
        self._follow_grasp(state, cube, distance)
        evidence = {
            "distance_to_goal": distance,
            "cube_height": float(cube[2]),
            "peak_height": self._peak_height,
            "peak_force": self._peak_force,
            "grasps": float(self._grasps),
            "grasps_lost": float(self._losses),
            "elapsed": elapsed,
        }
        failure = self._failure(force, elapsed, cube)
        if self._placed(state, elapsed, cube, distance):
            self._outcome = Outcome(True, True, 1.0, "none", "placed", evidence)
        elif failure:
            self._outcome = Outcome(True, False, 0.0, failure, self._stage(distance), evidence)
        else:
            self._outcome = Outcome(stage=self._stage(distance), evidence=evidence)
        return self._outcome

    def _follow_grasp(self, state: RobotState, cube: np.ndarray, distance: float) -> None:
        held = holds_cube(state)
        if held and not self._held:
            self._grasps += 1
            self._dropped = False
        if self._held and not held:
            # Letting go above the goal is placing; letting go anywhere else is losing.
            if state.gripper_command < 0:
                self._losses += 1
            self._dropped |= self._lifted and (state.gripper_command < 0 or distance > TOLERANCE)
        self._held = held
        self._lifted |= held and cube[2] > LIFTED

    def _placed(self, state: RobotState, elapsed: float, cube: np.ndarray, distance: float) -> bool:
        released = state.gripper_command > 0 and state.gripper_width > 1.1 * SIDE
        if not (self._lifted and released and distance < TOLERANCE and cube[2] < SIDE / 2 + 0.01):
            self._track.clear()
            return False
        self._track.append((elapsed, cube.copy()))
        while elapsed - self._track[0][0] > self.REST + 1e-9:
            self._track.popleft()
        if elapsed - self._track[0][0] < self.REST - 0.011:
            return False
        # Halves are compared by their means, so that the noise of a perceived pose is no motion.
        track = np.array([position for _, position in self._track])
        half = len(track) // 2
        return bool(np.linalg.norm(track[half:].mean(axis=0) - track[:half].mean(axis=0)) < 0.003)

    def _failure(self, force: float, elapsed: float, cube: np.ndarray) -> str:
        if force > self._task.force_budget:
            self._over_since = elapsed if self._over_since is None else self._over_since
            if elapsed - self._over_since >= self.CONTACT:
                return "collision"
        else:
            self._over_since = None
        lost = out_of_reach(cube)
        if not lost and elapsed < self._task.time_limit:
            return ""
        if self._dropped:
            return "drop"
        if self._losses and not self._held:
            return "unstable_grasp"
        return "unknown" if lost else "timeout"

    def _stage(self, distance: float) -> str:
        if self._held:
            return "carry" if self._lifted else "grasp"
        if self._lifted:
            return "release" if distance < TOLERANCE else "lost"
        return "reach"


class PickPlaceExpert(Expert):
    """Approach above, align, descend, close, lift, carry, lower, release, retreat; grasps again after a miss or a drop.

    It decides from the present state alone, so that a network can learn it and it can take over anywhere.
    """

    GRASP_HEIGHT = 0.024  # [m] of the tool above the table; the finger tips are 10 mm below it
    HOVER = 0.06  # [m] of the tool above the grasp while it is not aligned
    ALIGNED, FUNNEL = 0.014, 0.020  # [m] error across below which it goes down, and above which it comes up again
    HEADING = 0.2  # [rad] error of the heading below which it goes down
    SETTLED = 0.012  # [m] error below which it closes
    LEVEL, CLEARANCE = (
        0.010,
        0.005,
    )  # [m] of the cube above the table, below which it lets go, and to which it lowers
    ABOVE, ASTRAY = 0.018, 0.025  # [m] cube to goal across: below the first it lowers, above the second it lifts again

    def __init__(self, task: PickPlace, carry_height: float) -> None:
        self._carry = carry_height
        self._scale = np.array(task.action_scale)

    def act(self, state: RobotState, commanded_pose: tuple[np.ndarray, np.ndarray], goal: np.ndarray) -> TaskAction:
        """Next decision; `commanded_pose` leads the measured one by delay and lag, and is what is displaced."""
        commanded = np.asarray(commanded_pose[0])
        cube = state.object_poses[CUBE][:3]
        if holds_cube(state):
            return self._carry_on(state, commanded, cube, goal)
        near = np.linalg.norm(cube[:2] - state.ee_position[:2]) < SIDE and state.ee_position[2] < 0.05
        if state.gripper_command < 0 and state.gripper_width > 0.5 * SIDE and near:
            return self._action(self._stay(commanded, cube), 0.0, -1.0)  # the fingers are still closing
        if state.gripper_command > 0 and state.gripper_width < 1.4 * SIDE and near:
            return self._action(self._stay(commanded, cube), 0.0, 1.0)  # or still opening
        if np.linalg.norm(cube[:2] - goal[:2]) < 0.9 * TOLERANCE and cube[2] < SIDE / 2 + 0.01:
            return self._action(np.array([0.0, 0.0, 0.15 - commanded[2]]), 0.0, 1.0)
        return self._fetch(state, commanded, np.asarray(commanded_pose[1]), cube)

    def _carry_on(self, state: RobotState, commanded: np.ndarray, cube: np.ndarray, goal: np.ndarray) -> TaskAction:
        lead = commanded - state.ee_position
        across = goal[:2] - cube[:2] - lead[:2]
        away = float(np.linalg.norm(across))
        bottom = float(cube[2]) - SIDE / 2
        if float(np.linalg.norm(goal[:2] - cube[:2])) < self.ABOVE and bottom < self.LEVEL:
            return self._action(self._stay(commanded, cube), 0.0, 1.0)
        height = cube[2] + lead[2]
        if away < (self.ASTRAY if bottom < 0.05 else self.ABOVE):
            # It stops short of the table: pressing the cube on it would only load the arm.
            return self._action(np.array([*across, SIDE / 2 + self.CLEARANCE - height]), 0.0, -1.0)
        if bottom < 0.025:
            across = np.zeros(2)  # first up, then across
        return self._action(np.array([*across, self._carry - height]), 0.0, -1.0)

    def _fetch(
        self, state: RobotState, commanded: np.ndarray, commanded_rotation: np.ndarray, cube: np.ndarray
    ) -> TaskAction:
        error = cube[:2] - commanded[:2]
        measured_error = float(np.linalg.norm(cube[:2] - state.ee_position[:2]))
        away = float(np.linalg.norm(error))
        heading = np.arctan2(commanded_rotation[1, 0], commanded_rotation[0, 0])
        turn = float(yaw_of(state.object_poses[CUBE][3:])) - heading
        turn = (turn + np.pi / 4) % (np.pi / 2) - np.pi / 4
        grasp = self._grasp_height(cube)
        if state.gripper_command < 0:  # closed, and on nothing
            return self._action(np.array([0.0, 0.0, grasp + self.HOVER - commanded[2]]), 0.0, 1.0)
        low = commanded[2] < grasp + 0.5 * self.HOVER
        if away < (self.FUNNEL if low else self.ALIGNED) and abs(turn) < self.HEADING and measured_error < self.FUNNEL:
            down = grasp - commanded[2]
            settled = (
                max(abs(down), abs(state.ee_position[2] - grasp), measured_error) < self.SETTLED
                and away < self.SETTLED
                and abs(turn) < 0.5 * self.HEADING
            )
            return self._action(np.array([*error, down]), turn, -1.0 if settled else 1.0)
        up = grasp + self.HOVER - commanded[2]
        if up > 0.02 and away > self.FUNNEL:
            error = np.zeros(2)  # first up, then across: a finger must not push the cube
        return self._action(np.array([*error, up]), turn, 1.0)

    def _stay(self, commanded: np.ndarray, cube: np.ndarray) -> np.ndarray:
        return np.array([0.0, 0.0, self._grasp_height(cube) - commanded[2]])

    def _grasp_height(self, cube: np.ndarray) -> float:
        return max(self.GRASP_HEIGHT, float(cube[2]) + 0.004)

    def _action(self, displacement: np.ndarray, turn: float, gripper: float) -> TaskAction:
        wanted = np.array([*displacement, turn])
        x, y, z, yaw = np.clip(wanted, -self._scale, self._scale)
        return TaskAction(np.array([x, y, z, 0.0, 0.0, yaw]), gripper)
