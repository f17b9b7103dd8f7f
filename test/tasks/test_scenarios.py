"""Scenarios, features and the catalog of tasks."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physai_ros.robot.state import RobotState
from physai_ros.tasks.catalog import TASKS, load_task
from physai_ros.tasks.pick_place import SEPARATION
from physai_ros.tasks.task import Scenario

NUMBERS = st.floats(-1e6, 1e6)


def parameters(task):
    return st.fixed_dictionaries({name: st.floats(low, high) for name, (low, high) in task.scenario_bounds.items()})


def scenarios():
    poses = st.dictionaries(st.text(max_size=8), st.tuples(*[NUMBERS] * 7), max_size=3)
    goal = st.lists(NUMBERS, max_size=5).map(tuple)
    home = st.none() | st.tuples(*[NUMBERS] * 7)
    return st.builds(Scenario, st.dictionaries(st.text(max_size=8), NUMBERS, max_size=4), poses, goal, home)


@given(scenarios())
def test_json_there_and_back(scenario):
    assert Scenario.from_json(scenario.to_json()) == scenario


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"parameters": 1, "object_poses": {}, "goal": []}', "null"])
def test_what_is_no_scenario_is_refused(text):
    with pytest.raises(ValueError, match="not a scenario"):
        Scenario.from_json(text)


@given(parameters(load_task("pick_place")))
def test_every_parameter_gives_a_scenario_with_cube_and_goal_apart(values):
    task = load_task("pick_place")
    scenario = task.scenario(values)
    cube, goal = np.array(scenario.object_poses["cube"]), np.array(scenario.goal)
    assert np.linalg.norm(goal[:2] - cube[:2]) >= SEPARATION - 1e-9
    for axis, name in enumerate("xy"):
        low, high = task.scenario_bounds[f"goal_{name}"]
        assert low - 1e-9 <= goal[axis] <= high + 1e-9
    assert np.linalg.norm(cube[3:]) == pytest.approx(1.0)
    assert scenario.parameters == values
    assert Scenario.from_json(scenario.to_json()) == scenario


def test_cube_and_goal_in_one_place_are_moved_apart():
    values = {"cube_x": 0.4, "cube_y": 0.2, "cube_yaw": 0.0, "goal_x": 0.4, "goal_y": 0.2}
    scenario = load_task("pick_place").scenario(values)
    np.testing.assert_allclose(scenario.goal, [0.4, 0.12, 0.02])


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_seed_draws_one_scenario_within_bounds(name):
    task = load_task(name)
    first, again, other = (task.sample_scenario(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other
    for key, (low, high) in task.scenario_bounds.items():
        assert low <= first.parameters[key] <= high
    with pytest.raises(ValueError, match="takes"):
        task.scenario({"nonsense": 1.0})


def state(tool: np.ndarray, cube: np.ndarray, yaw: float = 0.0) -> RobotState:
    zeros = np.zeros(7)
    return RobotState(
        0.0, 0, tuple(f"j{i}" for i in range(7)), zeros, zeros, zeros, zeros,
        ee_position=tool, ee_orientation=np.array([0.0, 1.0, 0.0, 0.0]), ee_velocity=np.zeros(6), wrench=np.zeros(6),
        contact_forces=np.zeros(2), gripper_width=0.08, gripper_force=0.0, gripper_command=1.0,
        object_poses={"cube": np.array([*cube, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])},
    )  # fmt: skip


@given(st.floats(-3, 3), st.integers(1, 3), st.tuples(*[st.floats(-0.1, 0.1)] * 2))
def test_features_do_not_know_which_side_of_the_cube_is_which(yaw, quarters, shift):
    task, goal = load_task("pick_place"), np.array([0.5, 0.1, 0.02])
    tool, cube = np.array([0.4, 0.0, 0.2]), np.array([0.45, 0.1, 0.02])
    features = task.features(state(tool, cube, yaw), goal)
    np.testing.assert_allclose(task.features(state(tool, cube, yaw + quarters * np.pi / 2), goal), features, atol=1e-6)
    # What counts is where things stand to one another, not where on the table they stand.
    move = np.array([*shift, 0.0])
    np.testing.assert_allclose(task.features(state(tool + move, cube + move, yaw), goal + move), features, atol=1e-6)


def test_unknown_tasks_list_the_known():
    for name in ("juggle", ""):
        with pytest.raises(ValueError, match="pick_place, reach"):
            load_task(name)
    with pytest.raises(ValueError, match="no class 'Nothing'.*PickPlace"):
        load_task("physai_ros.tasks.pick_place:Nothing")
    with pytest.raises(ValueError, match="cannot import the module"):
        load_task("no_such_module:Task")


def test_a_task_of_ones_own(tmp_path):
    path = tmp_path / "my_reach.py"
    path.write_text(
        "from physai_ros.tasks.reach import Reach\n\n\n"
        "class SlowReach(Reach):\n    name = 'slow_reach'\n    time_limit = 20.0\n"
    )
    assert load_task(f"{path}:SlowReach").time_limit == 20.0
    for name in (str(path), f"{path}:SlowReach", "physai_ros.tasks.reach:Reach"):
        assert load_task(name).name == name  # who finds it in an episode can load it
    path.write_text("import nothing_of_the_kind\n")
    with pytest.raises(ValueError, match="cannot be read: ModuleNotFoundError"):
        load_task(str(path))
    path.write_text("from physai_ros.tasks.task import Task\n\n\nclass Half(Task):\n    name = 'half'\n")
    with pytest.raises(ValueError, match="Half is not complete"):
        load_task(str(path))
    with pytest.raises(ValueError, match="no task file"):
        load_task(str(tmp_path / "gone.py"))


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_task_is_described(name):
    task = load_task(name)
    assert task.name == name and task.instruction
    assert len(task.action_axes) == len(task.action_scale)
    assert json.loads(task.sample_scenario(np.random.default_rng(0)).to_json())["goal"]
