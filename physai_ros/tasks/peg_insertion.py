"""Task `peg_insertion`: pick up a square peg and put it into a square hole that is one millimetre wider."""

from __future__ import annotations

import numpy as np

from physai_ros.robot.rotation import rotation_matrix, yaw_of
from physai_ros.robot.state import RobotState
from physai_ros.tasks.task import Expert, ObjectSpec, Outcome, Scenario, Task, TaskAction, TaskTest

PEG = "peg"
WIDTH, LENGTH = 0.024, 0.060  # [m] of the peg
CLEARANCE = 0.001  # [m] that the hole is wider than the peg
DEPTH = 0.030  # [m] of the hole: it goes through to the table
WALL = 0.020  # [m] thickness of the socket's walls
INSERTED = 0.022  # [m] of the peg in the hole from which it counts as inserted
COARSE, FINE = 0.02, 0.003  # [m] scales of the fine features
REACH_LOWER, REACH_UPPER = np.array([0.28, -0.34]), np.array([0.70, 0.34])  # [m] where the arm can still get the peg

_HOLE = WIDTH + CLEARANCE
_LONG = _HOLE + 2.0 * WALL
_WALLS = {  # name -> centre in the socket's frame [m] and size [m]
    "wall_front": ((0.5 * (_HOLE + WALL), 0.0), (WALL, _LONG, DEPTH)),
    "wall_back": ((-0.5 * (_HOLE + WALL), 0.0), (WALL, _LONG, DEPTH)),
    "wall_left": ((0.0, 0.5 * (_HOLE + WALL)), (_HOLE, WALL, DEPTH)),
    "wall_right": ((0.0, -0.5 * (_HOLE + WALL)), (_HOLE, WALL, DEPTH)),
}
_GREY = (0.45, 0.47, 0.50, 1.0)


class PegInsertion(Task):
    """Pick up the peg, which stands on the table, and put it 22 mm deep into the socket; 1 mm is left round it.

    Where the socket is, is known and is the goal; where the peg is, is seen. The tool's force counts: over its budget
    the episode has failed.
    """

    name = "peg_insertion"
    instruction = "put the peg into the socket"
    objects = (
        ObjectSpec(PEG, (WIDTH, WIDTH, LENGTH), 0.08, (0.85, 0.55, 0.15, 1.0)),
        *(ObjectSpec(name, size, 1.0, _GREY, fixed=True) for name, (_, size) in _WALLS.items()),
    )
    action_scale = (0.020, 0.020, 0.020, 0.10)
    time_limit = 14.0
    force_budget = 30.0
    delicate = True  # of a constant disturbance of 2 mm a step the expert finishes one episode in ten

    @property
    def scenario_bounds(self) -> dict[str, tuple[float, float]]:
        """Where peg and socket stand [m] and how they are turned [rad]; peg right, socket left."""
        return {
            "peg_x": (0.40, 0.55),
            "peg_y": (-0.20, -0.06),
            "peg_yaw": (-0.4, 0.4),
            "socket_x": (0.40, 0.55),
            "socket_y": (0.06, 0.20),
            "socket_yaw": (-0.3, 0.3),
        }

    def scenario(self, parameters: dict[str, float]) -> Scenario:
        """The scenario of these parameters; the goal is the middle of the hole's mouth [m] and its turn [rad]."""
        bounds = self.scenario_bounds
        if set(parameters) != set(bounds):
            raise ValueError(f"parameters are {', '.join(sorted(parameters))}; {self.name} takes {', '.join(bounds)}")
        p = {name: float(value) for name, value in parameters.items()}
        poses = {PEG: _upright(p["peg_x"], p["peg_y"], 0.5 * LENGTH, p["peg_yaw"])}
        cosine, sine = np.cos(p["socket_yaw"]), np.sin(p["socket_yaw"])
        for name, ((x, y), _) in _WALLS.items():
            across = p["socket_x"] + cosine * x - sine * y, p["socket_y"] + sine * x + cosine * y
            poses[name] = _upright(*across, 0.5 * DEPTH, p["socket_yaw"])
        goal = (p["socket_x"], p["socket_y"], DEPTH, p["socket_yaw"])
        return Scenario(parameters=dict(parameters), object_poses=poses, goal=goal)

    def features(self, state: RobotState, goal: np.ndarray) -> np.ndarray:
        """(29,): peg to tool, tip to hole, hole to tool, coarse and fine [m, 1]; turns; lean; heights; opening."""
        peg = state.object_poses[PEG]
        tip_to_hole = goal[:3] - _tip(peg)
        relative = np.concatenate([peg[:3] - state.ee_position, tip_to_hole, goal[:3] - state.ee_position])
        turns = 4.0 * np.array([heading_error(state), _square(goal[3] - yaw_of(peg[3:]))])
        return np.concatenate(
            [
                relative,
                np.tanh(relative / COARSE),
                np.tanh(tip_to_hole / FINE),
                np.sin(turns),
                np.cos(turns),
                rotation_matrix(peg[3:])[:2, 2],
                [peg[2], state.gripper_width],
            ]
        )

    def remaining(self, state: RobotState, goal: np.ndarray) -> float:
        """Path that is left [m]: of the tip to where it counts, and of the tool to the peg while it is not held."""
        peg = state.object_poses[PEG]
        if inserted(peg, goal):
            return 0.0
        held = holds_peg(state)
        to_lift = 0.0 if held else float(np.linalg.norm(peg[:3] - state.ee_position)) + 0.1
        across = goal[:2] - _tip(peg)[:2]
        return float(np.linalg.norm(across)) + abs(float(_tip(peg)[2] - goal[2] + INSERTED)) + to_lift

    def mishap(self, state: RobotState, goal: np.ndarray) -> str:
        """`out_of_reach`, `fallen` or `closed_on_nothing` where that is so, else nothing."""
        peg = state.object_poses[PEG]
        if _lost(peg):
            return "out_of_reach"
        if not holds_peg(state) and rotation_matrix(peg[3:])[2, 2] < 0.7:
            return "fallen"
        if state.gripper_command < 0 and state.gripper_width < 0.25 * WIDTH:
            return "closed_on_nothing"
        return ""

    def test(self) -> TaskTest:
        """A fresh success test."""
        return PegInsertionTest(self)

    def expert(self, generator: np.random.Generator) -> Expert:
        """A fresh scripted expert; its carrying height varies a little, as a person's does."""
        return PegInsertionExpert(self, clear=float(generator.uniform(0.015, 0.03)))


def heading_error(state: RobotState) -> float:
    """Turn about z [rad] from the fingers to the peg's nearest side, in -pi/4 ... pi/4."""
    tool = rotation_matrix(state.ee_orientation)
    return _square(float(yaw_of(state.object_poses[PEG][3:])) - float(np.arctan2(tool[1, 0], tool[0, 0])))


def holds_peg(state: RobotState) -> bool:
    """Whether the peg is between closed fingers that feel it."""
    peg = state.object_poses[PEG][:3]
    return bool(
        state.gripper_command < 0
        and 0.6 * WIDTH < state.gripper_width < 1.5 * WIDTH
        and state.contact_forces.min() > 1.0
        and np.linalg.norm(peg - state.ee_position) < LENGTH
    )


def inserted(peg: np.ndarray, goal: np.ndarray) -> bool:
    """Whether a peg at the pose (7,) is as deep in the hole at `goal` (4,) as counts."""
    tip = _tip(peg)
    return bool(np.linalg.norm(tip[:2] - goal[:2]) < 0.004 and goal[2] - tip[2] > INSERTED)


def _tip(peg: np.ndarray) -> np.ndarray:
    """Middle (3,) [m] of the lower end of a peg at the pose (7,)."""
    return peg[:3] - 0.5 * LENGTH * rotation_matrix(peg[3:])[:, 2]


def _square(turn: float) -> float:
    """A turn [rad] of what looks the same after a quarter turn, in -pi/4 ... pi/4."""
    return float((turn + np.pi / 4) % (np.pi / 2) - np.pi / 4)


def _lost(peg: np.ndarray) -> bool:
    return bool((peg[:2] < REACH_LOWER).any() or (peg[:2] > REACH_UPPER).any() or peg[2] < -0.05)


def _upright(x: float, y: float, z: float, yaw: float) -> tuple[float, ...]:
    return float(x), float(y), float(z), float(np.cos(0.5 * yaw)), 0.0, 0.0, float(np.sin(0.5 * yaw))


class PegInsertionTest(TaskTest):
    """Success: inserted for 0.2 s without a break."""

    HOLD = 0.2  # [s]
    CONTACT = 0.05  # [s] above the force budget until it is a collision

    def __init__(self, task: PegInsertion) -> None:
        self._task = task
        self._outcome = Outcome(stage="reach")
        self._inside_since: float | None = None
        self._over_since: float | None = None
        self._held = self._ever_held = False
        self._peak_force = self._deepest = 0.0

    def update(self, state: RobotState, elapsed: float, goal: np.ndarray) -> Outcome:
        """Outcome after one more state; a failure names the last thing that went wrong."""
        if self._outcome.done:
            return self._outcome
        peg = state.object_poses[PEG]
        tip, force = _tip(peg), float(np.linalg.norm(state.wrench[:3]))
        across = float(np.linalg.norm(tip[:2] - goal[:2]))
        self._held = holds_peg(state)
        self._ever_held |= self._held
        self._peak_force = max(self._peak_force, force)
        if across < 0.5 * WIDTH:
            self._deepest = max(self._deepest, float(goal[2] - tip[2]))
        self._inside_since = _since(self._inside_since, inserted(peg, goal), elapsed)
        self._over_since = _since(self._over_since, force > self._task.force_budget, elapsed)
        evidence = {
            "tip_to_hole": across,
            "depth": self._deepest,
            "peak_force": self._peak_force,
            "elapsed": elapsed,
        }
        failure = self._failure(peg, elapsed)
        if self._inside_since is not None and elapsed - self._inside_since >= self.HOLD - 1e-9:
            self._outcome = Outcome(True, True, 1.0, "none", "inserted", evidence)
        elif failure:
            self._outcome = Outcome(True, False, 0.0, failure, self._stage(across), evidence)
        else:
            self._outcome = Outcome(stage=self._stage(across), evidence=evidence)
        return self._outcome

    def _failure(self, peg: np.ndarray, elapsed: float) -> str:
        if self._over_since is not None and elapsed - self._over_since >= self.CONTACT - 1e-9:
            return "collision"
        lost = _lost(peg) or (not self._held and rotation_matrix(peg[3:])[2, 2] < 0.5)
        if not lost and elapsed < self._task.time_limit:
            return ""
        if lost or (self._ever_held and not self._held):
            return "drop" if self._ever_held else "unknown"
        return "timeout"

    def _stage(self, across: float) -> str:
        if not self._held:
            return "lost" if self._ever_held else "reach"
        return "insert" if across < 0.5 * WIDTH else "carry"


class PegInsertionExpert(Expert):
    """Approach above, align, descend, close, lift, carry, align within half a millimetre, push down gently.

    It decides from the present state alone. Near the hole it corrects a share of what is missing in every step, so that
    what friction holds back adds up in the commanded pose.
    """

    GRASP = 0.042  # [m] of the tool above the table: the fingers hold the upper half
    HOVER = 0.05  # [m] of the tool above the grasp while it is not aligned
    ALIGNED = 0.006  # [m] error across below which it goes down to grasp
    HEADING = 0.08  # [rad] error of the heading below which it goes down to grasp
    MOUTH = 0.0006  # [m] error across below which the tip goes in
    TURNED = 0.02  # [rad] error of the turn below which the tip goes in
    NEAR = 0.008  # [m] from the hole within which it corrects by shares
    SHARE = 0.3
    STILL = 0.003  # [m/s] of the tool below which friction holds it
    NUDGE = 0.0003  # [m] a step beyond what is missing, while friction holds it
    OVER = 0.003  # [m] of the tip above the mouth while it is not aligned
    LOWER = 0.0015  # [m] a step from there into the mouth
    PRESS = 0.004  # [m] a step in the hole
    GENTLE = 12.0  # [N] on the tool above which it does not press on

    def __init__(self, task: PegInsertion, clear: float) -> None:
        self._clear = clear
        self._scale = np.array(task.action_scale)

    def act(self, state: RobotState, commanded_pose: tuple[np.ndarray, np.ndarray], goal: np.ndarray) -> TaskAction:
        """Next decision; `commanded_pose` leads the measured one by delay and lag, and is what is displaced."""
        commanded = np.asarray(commanded_pose[0])
        peg = state.object_poses[PEG]
        if holds_peg(state):
            return self._insert(state, commanded, np.asarray(commanded_pose[1]), peg, goal)
        near = np.linalg.norm(peg[:2] - state.ee_position[:2]) < WIDTH and state.ee_position[2] < self.GRASP + 0.02
        if state.gripper_command < 0 and state.gripper_width > 0.6 * WIDTH and near:
            return self._action(np.zeros(3), 0.0, -1.0)  # the fingers are still closing
        return self._fetch(state, commanded, np.asarray(commanded_pose[1]), peg)

    def _insert(
        self, state: RobotState, commanded: np.ndarray, rotation: np.ndarray, peg: np.ndarray, goal: np.ndarray
    ) -> TaskAction:
        tip, lead = _tip(peg), commanded - state.ee_position
        across, above = goal[:2] - tip[:2], float(tip[2] - goal[2])
        away = float(np.linalg.norm(across))
        measured = rotation_matrix(state.ee_orientation)
        turn_lead = _heading(rotation) - _heading(measured)
        missing = _square(float(goal[3]) - float(yaw_of(peg[3:])))
        turn = missing - _square(turn_lead) if abs(missing) > 0.1 else self.SHARE * missing
        force = float(np.linalg.norm(state.wrench[:3]))
        if above < -0.002 and away < self.NEAR:  # in the hole: on, down, and no further than the table
            down = -self.PRESS if force < self.GENTLE else 0.5 * self.PRESS
            return self._action(np.array([*self._corrected(state, across), down]), self.SHARE * missing, -1.0)
        if away > self.NEAR:
            rise = self._clear - above - lead[2]
            across = np.zeros(2) if above < 0.5 * self._clear else across - lead[:2]
            return self._action(np.array([*across, rise]), turn, -1.0)
        down = self.OVER - above - lead[2]
        if above < 2.0 * self.OVER:
            down = 0.3 * (self.OVER - above)
            if away < self.MOUTH and abs(missing) < self.TURNED:
                down = -self.LOWER if force < self.GENTLE else self.LOWER
        return self._action(np.array([*self._corrected(state, across), down]), turn, -1.0)

    def _corrected(self, state: RobotState, missing: np.ndarray) -> np.ndarray:
        """Displacement (2,) [m] for what is missing (2,) across: pushed while the arm is still, awaited while it moves.

        Where friction holds the arm, the commanded pose has to lead by millimetres before anything moves; going on to
        push then would carry it past.
        """
        distance = float(np.linalg.norm(missing))
        moves = float(np.linalg.norm(state.ee_velocity[:2])) > self.STILL
        if distance < 0.5 * self.MOUTH or (moves and distance < 0.5 * self.NEAR):
            return np.zeros(2)
        return missing * (self.SHARE + self.NUDGE / distance)

    def _fetch(self, state: RobotState, commanded: np.ndarray, rotation: np.ndarray, peg: np.ndarray) -> TaskAction:
        error = peg[:2] - commanded[:2]
        measured = float(np.linalg.norm(peg[:2] - state.ee_position[:2]))
        turn = _square(float(yaw_of(peg[3:])) - _heading(rotation))
        grasp = max(self.GRASP, float(peg[2]) + 0.5 * LENGTH - 0.018)
        if state.gripper_command < 0:  # closed, and on nothing
            return self._action(np.array([0.0, 0.0, grasp + self.HOVER - commanded[2]]), 0.0, 1.0)
        low = commanded[2] < grasp + 0.5 * self.HOVER
        if measured < (2.0 if low else 1.0) * self.ALIGNED and abs(turn) < self.HEADING:
            settled = max(abs(state.ee_position[2] - grasp), measured) < self.ALIGNED
            return self._action(np.array([*error, grasp - commanded[2]]), turn, -1.0 if settled else 1.0)
        up = grasp + self.HOVER - commanded[2]
        if up > 0.02 and measured > 2.0 * self.ALIGNED:
            error = np.zeros(2)  # first up, then across: a finger must not push the peg over
        return self._action(np.array([*error, up]), turn, 1.0)

    def _action(self, displacement: np.ndarray, turn: float, gripper: float) -> TaskAction:
        x, y, z, yaw = np.clip(np.array([*displacement, turn]), -self._scale, self._scale)
        return TaskAction(np.array([x, y, z, 0.0, 0.0, yaw]), gripper)


def _heading(rotation: np.ndarray) -> float:
    return float(np.arctan2(rotation[1, 0], rotation[0, 0]))


def _since(start: float | None, holds: bool, now: float) -> float | None:
    if not holds:
        return None
    return now if start is None else start
