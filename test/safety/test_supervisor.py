"""What reaches the guard, whatever is proposed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.evaluation.motion_check import MotionCheck
from physai_ros.robot.command import CommandSource
from physai_ros.robot.state import DriverFault, DriverMode, is_overtaken
from physai_ros.robot.volumes import HalfSpace, KeepOut
from physai_ros.safety.distances import Distances
from physai_ros.safety.limits import SafetyConfigurationError
from physai_ros.safety.state_machine import SafetyState


def nudged(loop, size=0.02):
    return loop.spec.home_positions + size


def move(loop, cycles=30, speed=0.4):
    """Drive at a steady speed; returns the reference of the last cycle."""
    reference = loop.supervisor.set_point.positions
    for _ in range(cycles):
        reference = reference + speed * loop.spec.control_period * np.array([1, 0.3, 0, -0.3, 0, 0, 0.5])
        loop.cycle(reference)
    return reference


def hold_until_rest(loop, cycles=60):
    for _ in range(cycles):
        loop.cycle()
    assert not loop.supervisor.set_point.velocities.any()


def check_motion(loop):
    """Every command inside position, velocity and acceleration; every one taken by the guard."""
    path, period = loop.path(), loop.spec.control_period
    assert np.isfinite(path).all()
    velocities = np.diff(path, axis=0) / period
    accelerations = np.diff(velocities, axis=0) / period
    assert (path >= loop.limits.position_lower - 1e-6).all()
    assert (path <= loop.limits.position_upper + 1e-6).all()
    assert (np.abs(velocities) <= loop.limits.velocity + 0.02).all()
    assert (np.abs(accelerations) <= loop.limits.acceleration + 1e-6).all()
    assert loop.guard.commands_refused == 0, loop.guard.refused


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_arbitrary_proposals_never_lead_outside_the_limits(make_loop, seed):
    generator = np.random.default_rng(seed)
    loop = make_loop()
    spec, reference = loop.spec, loop.spec.home_positions
    for _ in range(200):
        kind = generator.integers(0, 14)
        names = spec.joint_names
        if kind < 6:
            reference = reference + generator.normal(0, generator.choice([1e-3, 0.02, 0.5]), 7)
            proposed = reference
        elif kind == 6:
            proposed = generator.choice([np.nan, np.inf, -np.inf, 1e308, 5e-324]) * np.ones(7)
        elif kind == 7:
            proposed = generator.normal(0, 1, int(generator.integers(0, 12)))
        elif kind == 8:
            proposed = reference[::-1]
            names = names[::-1]
        elif kind == 9:
            proposed, names = reference, (*names[:-1], "elbow")
        elif kind == 10:
            proposed = np.where(generator.random(7) < 0.2, np.nan, reference)
        elif kind == 11:
            proposed = spec.position_upper + generator.uniform(-1, 1, 7)
        elif kind == 12:
            proposed = None
        else:
            proposed, reference = loop.supervisor.set_point.positions, loop.supervisor.set_point.positions
        if proposed is None:
            loop.cycle()
            continue
        gripper = generator.choice([1.0, -1.0, 0.3, 7.0, np.nan])
        proposal = None
        if generator.random() < 0.9:
            proposal = loop.action(proposed, joint_names=names, gripper_command=gripper)
            proposal.sequence = proposal.state_sequence = loop.sequence + 1
        loop.cycle(proposal=proposal)
        assert -1.0 <= loop.commands[-1].gripper_command <= 1.0
    check_motion(loop)
    for command in loop.commands[::10]:
        stop = command.stop.positions
        assert (stop >= loop.limits.position_lower - 1e-6).all()
        assert (stop <= loop.limits.position_upper + 1e-6).all()


def test_a_feasible_proposal_is_permitted_as_it_is(loop):
    home = loop.spec.home_positions
    for cycle in range(100):
        reference = home + 0.2 * (1 - np.cos(cycle * 0.02))
        command = loop.cycle(reference)
        assert (command.positions == reference).all()
        assert not command.altered
        assert command.source == CommandSource.POLICY
        assert command.proposed_sequence == loop.sequence
    assert loop.supervisor.status().state == SafetyState.NOMINAL
    assert loop.supervisor.status().altered == 0


def test_it_is_latched_until_resume_and_holds_then(make_loop):
    loop = make_loop()
    loop.supervisor.activate(loop.state())
    command = loop.cycle(nudged(loop))
    assert loop.supervisor.status().state == SafetyState.STOPPED
    assert loop.supervisor.status().reasons == ("not_resumed",)
    assert command.source == CommandSource.STOP
    assert (command.positions == loop.spec.home_positions).all()


def test_a_decision_before_activation_says_what_to_do(make_loop):
    loop = make_loop()
    loop.supervisor.deactivate()
    with pytest.raises(SafetyConfigurationError, match="call activate"):
        loop.cycle(nudged(loop))


def test_a_state_answered_before_gets_the_same_answer(loop):
    command = loop.cycle(nudged(loop))
    again = loop.supervisor.decide(loop.state(), loop.action(nudged(loop, -0.5)), None, loop.now)
    assert again is command


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"reference_positions": np.full(7, np.nan)}, "proposal_not_finite"),
        ({"reference_positions": np.zeros(5)}, "proposal_malformed"),
        ({"reference_positions": "far"}, "proposal_malformed"),
        ({"gripper_command": float("nan")}, "proposal_not_finite"),
        ({"joint_names": tuple("abcdefg")}, "proposal_joints"),
        ({"state_sequence": 5}, "proposal_stale"),
        ({"state_sequence": 5000}, "proposal_of_another_run"),
    ],
)
def test_a_bad_proposal_is_refused_with_its_reason_and_the_next_good_one_taken(loop, changes, reason):
    reference = move(loop)
    command = loop.cycle(proposal=loop.action(reference, sequence=999, **{"state_sequence": loop.sequence, **changes}))
    assert reason in command.reasons
    assert command.source == CommandSource.STOP
    assert loop.supervisor.status().state == SafetyState.HOLD
    hold_until_rest(loop)
    assert loop.cycle(reference).source == CommandSource.POLICY
    check_motion(loop)


def test_joints_are_taken_by_name(loop):
    reference = loop.spec.home_positions + 0.0005 * np.arange(7) / 7
    proposal = loop.action(reference[::-1], joint_names=loop.spec.joint_names[::-1])
    assert np.allclose(loop.cycle(proposal=proposal).positions, reference)


def test_a_repeated_proposal_grows_stale_and_the_arm_holds(loop):
    move(loop)
    last = loop.action(loop.commands[-1].positions)
    sources = [loop.cycle(proposal=last).source for _ in range(30)]
    assert sources[:5] == [CommandSource.POLICY] * 5
    assert sources[-1] == CommandSource.HOLD
    assert "proposal_stale" in loop.supervisor.status().reasons
    check_motion(loop)


def test_silence_of_the_policy_plays_the_verified_stop(loop):
    move(loop, speed=0.8)
    stop = loop.commands[-1].stop.positions
    for sample in stop:
        assert np.allclose(loop.cycle().positions, sample)
    assert loop.cycle().source == CommandSource.HOLD
    assert not loop.supervisor.set_point.velocities.any()
    check_motion(loop)


def test_after_a_hold_a_distant_reference_is_walked_to(loop):
    reference = move(loop)
    hold_until_rest(loop)
    far = reference + 0.3
    for _ in range(200):
        loop.cycle(far)
    assert np.allclose(loop.commands[-1].positions, far)
    check_motion(loop)


def test_contact_force_latches_after_three_cycles_and_a_touch_does_not(loop):
    home = loop.spec.home_positions
    loop.wrench = np.array([0, 0, 90.0, 0, 0, 0])
    for _ in range(2):
        loop.cycle(home)
    loop.wrench = np.zeros(6)
    loop.cycle(home)
    assert loop.supervisor.status().state < SafetyState.STOPPED
    loop.wrench = np.array([0, 50.0, 50.0, 0, 0, 0])
    for _ in range(3):
        command = loop.cycle(home)
    assert loop.supervisor.status().state == SafetyState.STOPPED
    assert "contact_force" in command.reasons
    loop.wrench = np.zeros(6)
    assert loop.cycle(home).source == CommandSource.STOP
    assert loop.supervisor.status().stops == 1


def test_a_blow_stops_at_once(loop):
    reference = move(loop)
    loop.wrench = np.array([0, 0, 2.1 * loop.limits.force_budgets["reach"], 0, 0, 0])
    assert loop.cycle(reference).source == CommandSource.STOP
    assert "contact_blow" in loop.supervisor.reasons


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    frequency=st.floats(12.0, 100.0),
    delay=st.integers(0, 10),
    sag=st.floats(-0.04, 0.04),
)
def test_however_late_a_servo_follows_it_is_not_pushed_aside(make_loop, seed, frequency, delay, sag):
    loop, generator = make_loop(tracking_error=0.6), np.random.default_rng(seed)
    share = 1.0 - np.exp(-frequency * loop.spec.control_period)
    behind = loop.spec.home_positions.copy()
    servo, reference = behind.copy(), behind.copy()
    sent = [behind] * (delay + 1)
    for cycle in range(300):
        if cycle % 40 == 0:
            speed = generator.uniform(-1.0, 1.0, 7) * loop.limits.velocity
        reference = np.clip(reference + speed * loop.spec.control_period, home_below(loop), home_above(loop))
        sent.append(loop.cycle(reference, joint_positions=servo + sag).positions)
        # Critically damped: two lags one behind the other.
        behind = behind + share * (sent[-1 - delay] - behind)
        servo = servo + share * (behind - servo)
        assert "pushed_aside" not in loop.supervisor.reasons


def home_below(loop):
    return loop.spec.home_positions - 0.3


def home_above(loop):
    return loop.spec.home_positions + 0.3


def test_an_arm_that_is_pushed_aside_stops_and_yields(loop):
    reference = move(loop)
    pushed = loop.supervisor.set_point.positions + np.array([0, 0, 0, 0, 0, 0.15, 0])
    for _ in range(3):
        loop.cycle(reference, joint_positions=pushed)
    assert loop.supervisor.state == SafetyState.STOPPED
    assert "pushed_aside" in loop.supervisor.reasons
    for _ in range(150):
        loop.cycle(reference, joint_positions=pushed)
    assert loop.supervisor.state == SafetyState.STOPPED
    assert np.allclose(loop.supervisor.set_point.positions, pushed, atol=1e-6)
    check_motion(loop)


def test_an_encoder_that_slipped_leads_the_arm_no_further_than_it_slipped(loop):
    home = loop.spec.home_positions
    loop.error = np.array([0, 0, 0, 0, 0, 0.15, 0])
    for _ in range(300):
        loop.cycle(home)
    assert loop.supervisor.state == SafetyState.STOPPED
    assert np.abs(loop.supervisor.set_point.positions - home).max() <= 0.15 + 1e-9


def test_a_contact_stop_yields_until_the_force_is_gone(loop):
    reference = move(loop, cycles=60, speed=0.8)
    wall, stiffness = loop.supervisor.set_point.positions[0] - 0.005, 4000.0  # the arm cannot go beyond

    def touch() -> None:
        beyond = max(float(loop.guard.setpoint(loop.now)[0][0]) - wall, 0.0)
        loop.error = np.array([-beyond, 0, 0, 0, 0, 0, 0])
        loop.wrench = np.array([stiffness * beyond, 0, 0, 0, 0, 0])

    forces = []
    for _ in range(120):
        touch()
        forces.append(loop.wrench[0])
        loop.cycle(reference)
    assert max(forces) > loop.limits.force_budget
    assert loop.supervisor.state == SafetyState.STOPPED
    assert forces[-1] <= 0.2 * loop.limits.force_budget
    assert not loop.supervisor.set_point.velocities.any()
    assert loop.commands[-1].gripper_command == loop.commands[0].gripper_command
    check_motion(loop)


def test_the_force_budget_can_be_set(loop):
    loop.supervisor.set_force_budget(10.0)
    loop.wrench = np.array([0, 0, 12.0, 0, 0, 0])
    for _ in range(3):
        loop.cycle(loop.spec.home_positions)
    assert loop.supervisor.status().state == SafetyState.STOPPED
    with pytest.raises(SafetyConfigurationError, match="force budget is nan"):
        loop.supervisor.set_force_budget(float("nan"))


def test_an_arm_that_stays_behind_is_held_then_stopped(loop):
    start, reference = loop.spec.home_positions, loop.spec.home_positions
    states, errors = [], []
    for _ in range(120):
        reference = reference + 0.8 * loop.spec.control_period * np.array([1, 0, 0, 0, 0, 0, 0])
        loop.cycle(reference, joint_positions=start)
        states.append(loop.supervisor.state)
        errors.append(np.abs(loop.supervisor.set_point.positions - start).max())
    held = states.index(SafetyState.HOLD)
    assert errors[held - 12] <= loop.limits.tracking_error < errors[held - 9]
    assert SafetyState.STOPPED in states[held : held + 60]
    assert loop.supervisor.reasons[0] in ("tracking_error_sustained", "pushed_aside")
    for _ in range(150):
        loop.cycle(reference, joint_positions=start)
    assert np.allclose(loop.supervisor.set_point.positions, start, atol=1e-6)
    check_motion(loop)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"fault": DriverFault.REFLEX}, "driver_fault"),
        *(({"fault": fault}, f"driver_{fault.name.lower()}") for fault in DriverFault if fault != DriverFault.NONE),
        ({"mode": DriverMode.STOPPED}, "driver_stopped"),
        ({"mode": DriverMode.STOPPING}, "driver_stopped"),
    ],
)
def test_a_driver_that_stopped_latches(loop, changes, reason):
    reference = move(loop)
    loop.cycle(reference, **changes)
    assert loop.supervisor.status().state == SafetyState.STOPPED
    assert reason in loop.supervisor.status().reasons
    loop.cycle(reference)
    assert loop.supervisor.status().state == SafetyState.STOPPED


@pytest.mark.parametrize(
    "changes",
    [
        {"joint_positions": np.full(7, np.nan)},
        {"joint_positions": np.full(7, 1e308)},  # finite each, not together
        {"commanded_positions": np.zeros(3)},
        {"joint_names": tuple("abcdefg")},
        {"wrench": np.full(6, np.nan)},
    ],
)
def test_an_invalid_state_holds_and_stops_where_it_lasts(loop, changes):
    reference = move(loop)
    loop.cycle(reference, **changes)
    assert loop.supervisor.status().state == SafetyState.HOLD
    for _ in range(12):
        loop.cycle(reference, **changes)
    assert loop.supervisor.status().state == SafetyState.STOPPED
    check_motion(loop)


def test_a_driver_that_started_again_latches(loop):
    move(loop)
    loop.sequence = 0
    loop.cycle(nudged(loop))
    assert loop.supervisor.status().state == SafetyState.STOPPED
    assert "driver_restarted" in loop.supervisor.status().reasons


def test_emergency_stop_begins_in_the_next_cycle_and_resume_replays_nothing(loop):
    reference = move(loop, speed=0.8)
    speed = np.abs(loop.supervisor.set_point.velocities).max()
    loop.supervisor.emergency_stop()
    loop.cycle(reference)
    assert np.abs(loop.supervisor.set_point.velocities).max() < speed
    for _ in range(40):
        command = loop.cycle(reference)
    assert command.source == CommandSource.STOP
    old = loop.action(reference + 0.1)
    rest = loop.supervisor.set_point.positions
    assert loop.supervisor.resume()[0]
    assert loop.supervisor.status().state == SafetyState.HOLD
    for _ in range(5):
        assert (loop.cycle(proposal=old).positions == rest).all()
    assert loop.cycle(reference).source == CommandSource.POLICY
    check_motion(loop)


def test_the_operator_comes_before_the_policy_and_release_holds(loop):
    home = loop.spec.home_positions
    policy, operator = home + 0.0004, home - 0.0004
    loop.cycle(policy)
    command = loop.cycle(policy, intervention=loop.intervention(operator))
    assert command.source == CommandSource.OPERATOR
    released = loop.intervention(operator, enable=False)
    assert loop.cycle(policy, intervention=released).source in (CommandSource.HOLD, CommandSource.STOP)
    assert "operator_released" in loop.supervisor.status().reasons
    assert loop.cycle(policy, intervention=released).source == CommandSource.POLICY


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_take_over_and_hand_back_make_no_step_above_the_jerk_limit(make_loop, seed):
    generator, loop = np.random.default_rng(seed), make_loop()
    limits = loop.limits
    check = MotionCheck(limits, loop.kinematics, loop.spec.control_period)
    check.start(loop.spec.home_positions)
    references = np.tile(loop.spec.home_positions, (2, 1))  # the policy's and the operator's
    operator_drives, changes = False, 0
    for cycle in range(400):
        if cycle % 20 == 0:  # both go on their own ways, whoever drives: the other's reference is far off by then
            velocities = generator.uniform(-0.6, 0.6, (2, 7)) * limits.velocity
        references = references + loop.spec.control_period * velocities
        if generator.random() < 0.04:
            operator_drives, changes = not operator_drives, changes + 1
        held = loop.intervention(references[1], enable=operator_drives) if changes else None
        check.see(loop.cycle(references[0], intervention=held).positions)
    assert not check.violations
    if changes > 2:
        assert {CommandSource.OPERATOR, CommandSource.POLICY} <= {command.source for command in loop.commands}


def test_after_a_release_only_a_fresh_proposal_moves_the_arm(loop):
    home = loop.spec.home_positions
    loop.cycle(home, intervention=loop.intervention(home))
    old = loop.action(home + 0.1, state_sequence=loop.sequence)
    for _ in range(5):
        command = loop.cycle(proposal=old)
        assert command.source == CommandSource.HOLD
    assert "proposal_awaited" in command.reasons


def test_a_lease_that_runs_out_releases(loop):
    home = loop.spec.home_positions
    held = loop.intervention(home, lease=5.0)  # longer than is allowed
    sources = [loop.cycle(home, intervention=held).source for _ in range(30)]
    assert sources[:20] == [CommandSource.OPERATOR] * 20
    assert sources[25:] == [CommandSource.POLICY] * 5


def test_garbage_of_the_operator_holds_and_does_not_give_way_to_the_policy(loop):
    home = loop.spec.home_positions
    for bad in (loop.intervention(np.full(7, np.nan)), loop.intervention(home, lease=float("nan"))):
        command = loop.cycle(home + 0.01, intervention=bad)
        assert command.source == CommandSource.HOLD
        assert (command.positions == loop.spec.home_positions).all()


def test_a_reset_of_the_world_moves_the_set_point_along(loop):
    move(loop, cycles=60)
    there = loop.spec.home_positions + np.array([0.5, -0.2, 0.1, 0.3, 0, 0, 0])
    loop.guard.initialise(there)
    first = loop.cycle(there)
    assert np.allclose(first.positions, there)
    for _ in range(20):
        assert loop.cycle(there).source == CommandSource.POLICY
    assert loop.guard.commands_refused == 0


def test_reduced_speed_brakes_to_the_reduced_limits(loop):
    for _ in range(60):
        loop.cycle(loop.spec.home_positions + 1.5)
    loop.supervisor.set_reduced_speed(True)
    for _ in range(60):
        loop.cycle(loop.spec.home_positions + 1.5)
    assert loop.supervisor.status().state == SafetyState.LIMITED
    assert (np.abs(loop.supervisor.set_point.velocities) <= 0.25 * loop.limits.velocity + 1e-9).all()
    check_motion(loop)


def test_the_first_motion_after_a_resume_is_slow(loop):
    loop.supervisor.set_first_motion(0.5)
    goal = loop.spec.home_positions + 1.5
    for _ in range(30):
        loop.cycle(loop.spec.home_positions)  # standing still proves nothing
    for _ in range(60):
        loop.cycle(goal)
        assert (np.abs(loop.supervisor.set_point.velocities) <= 0.25 * loop.limits.velocity + 1e-9).all()
        assert "first_motion" in loop.supervisor.reasons
    for _ in range(60):
        loop.cycle(goal)
    assert (np.abs(loop.supervisor.set_point.velocities) > 0.3 * loop.limits.velocity).any()
    assert "first_motion" not in loop.supervisor.reasons
    loop.supervisor.emergency_stop()
    for _ in range(60):
        loop.cycle(goal)
    loop.start()
    loop.cycle(goal)
    assert "first_motion" in loop.supervisor.reasons
    check_motion(loop)


def test_a_clock_that_jumps_back_holds(loop):
    reference = move(loop)
    loop.sequence += 1
    command = loop.supervisor.decide(loop.state(), loop.action(reference), None, loop.now - 5.0)
    assert "clock_jump" in command.reasons
    assert loop.supervisor.status().state == SafetyState.HOLD


def test_a_silent_driver_holds_then_latches(loop):
    move(loop)
    assert loop.supervisor.watch(loop.now + 0.05) < SafetyState.HOLD
    assert loop.supervisor.watch(loop.now + 0.2) == SafetyState.HOLD
    assert loop.supervisor.watch(loop.now + 1.5) == SafetyState.STOPPED
    assert "driver_lost" in loop.supervisor.status().reasons


def test_an_operator_who_pushes_down_stays_above_the_workspace_floor(make_loop):
    loop = make_loop(workspace_lower=np.array([-0.9, -0.9, 0.3]))
    reference = loop.spec.home_positions
    for _ in range(400):
        jacobian = loop.kinematics.jacobian(loop.supervisor.set_point.positions)[:3]
        reference = loop.supervisor.set_point.positions + np.linalg.pinv(jacobian) @ np.array([0, 0, -0.004])
        loop.cycle(intervention=loop.intervention(reference))
    heights = [loop.kinematics.tool_pose(positions).position[2] for positions in loop.path()]
    assert min(heights) > 0.297
    assert min(heights) < 0.305
    assert loop.supervisor.status().margins["workspace"] < 0.05
    check_motion(loop)


VOLUMES = {
    "half_space counter": {"half_spaces": (HalfSpace("counter", np.array([0.0, 0.0, 1.0]), 0.05),)},
    "half_space leaning wall": {"half_spaces": (HalfSpace("leaning wall", np.array([-1.0, 0.3, -0.4]), -0.75),)},
    "keep_out shelf": {"keep_out": (KeepOut("shelf", np.array([0.3, 0.15, 0.2]), np.array([0.7, 0.5, 0.5])),)},
    "workspace": {"workspace_upper": np.array([0.9, 0.1, 1.3])},
}


@pytest.mark.parametrize("name", VOLUMES)
@pytest.mark.parametrize("haste", [0.003, 0.05])
def test_the_arm_goes_up_to_a_volume_and_no_link_enters_it(make_loop, name, haste):
    loop = make_loop(**VOLUMES[name])
    distances = Distances(loop.limits, loop.kinematics)
    which = [i for i, other in enumerate(distances.names) if other == name]
    goals = {"half_space counter": [0, 0.9, 0, 0, 0, 0, 0], "half_space leaning wall": [0, 0.9, 0, 0.9, 0, 0, 0]}
    goal = loop.spec.home_positions + np.array(goals.get(name, [1.2, 0.5, 0, 0, 0, 0, 0]))
    reference, seen = loop.spec.home_positions, []
    for _ in range(300):
        reference = reference + np.clip(goal - reference, -haste, haste)
        loop.cycle(reference)
        for positions in (loop.commands[-1].positions, loop.commands[-1].stop.positions[-1]):
            seen.append(distances.look(positions).distances[which].min())
    assert min(seen) >= -1e-9
    assert seen[-1] < 0.01
    assert any(name in command.reasons for command in loop.commands)
    check_motion(loop)


def test_links_do_not_come_nearer_to_each_other_than_their_margin(make_loop):
    loop = make_loop(workspace_lower=np.array([-0.9, -0.9, -0.5]), half_spaces=())
    distances = Distances(loop.limits, loop.kinematics)
    between = [i for i, name in enumerate(distances.names) if name == "self_distance"]
    generator, nearest, reasons = np.random.default_rng(2), [], set()
    goal = loop.spec.home_positions
    for cycle in range(1000):
        while cycle % 250 == 0 and distances.look(goal).distances[between].min() > -0.05:
            goal = generator.uniform(loop.limits.position_lower, loop.limits.position_upper)
        loop.cycle(goal)
        reasons.update(loop.commands[-1].reasons)
        nearest.append(distances.look(loop.commands[-1].positions).distances[between].min())
        if cycle % 250 == 249:
            goal = loop.spec.home_positions
    assert min(nearest) >= -1e-9
    assert min(nearest) < 0.005
    assert "self_distance" in reasons
    check_motion(loop)


def test_forces_are_judged_by_the_phase_that_the_gripper_shows(make_loop):
    loop = make_loop(force_budgets={"reach": 20.0, "grasp": 45.0})
    home = loop.spec.home_positions

    def stopped_by(newtons: float, gripper: float) -> bool:
        loop.supervisor.resume()
        loop.wrench = np.array([0.0, 0.0, newtons, 0.0, 0.0, 0.0])
        for _ in range(3):
            loop.cycle(home, gripper_command=gripper)
        loop.wrench = np.zeros(6)
        loop.cycle(home, gripper_command=gripper)
        return loop.supervisor.state == SafetyState.STOPPED

    assert stopped_by(25.0, 1.0) and not stopped_by(15.0, 1.0)
    assert not stopped_by(25.0, -1.0) and stopped_by(50.0, -1.0)  # the gripper has just closed
    for _ in range(60):
        loop.cycle(home, gripper_command=-1.0)
    assert not stopped_by(50.0, -1.0) and stopped_by(65.0, -1.0)  # it carries: the monitor's own budget


def test_reduced_speed_is_a_quarter_of_a_metre_a_second_at_the_tool(make_loop):
    loop = make_loop(reduced_scale=1.0, tool_speed=1.5)
    loop.supervisor.set_reduced_speed(True)
    goal, tools = loop.spec.home_positions + np.array([1.5, 0, 0, 0, 0, 0, 0]), []
    for _ in range(150):
        loop.cycle(goal)
        tools.append(loop.kinematics.tool_pose(loop.commands[-1].positions).position)
    speeds = np.linalg.norm(np.diff(tools, axis=0), axis=1) / loop.spec.control_period
    assert 0.24 < speeds.max() < 0.2501
    assert any("tool_speed" in command.reasons for command in loop.commands)


def test_margins_are_shares(loop):
    margins = loop.supervisor.status().margins
    assert set(margins) == {
        "position",
        "velocity",
        "tool_speed",
        "workspace",
        "self_distance",
        "contact_force",
        "tracking_error",
    }
    move(loop)
    after = loop.supervisor.status().margins
    assert all(0.0 <= share <= 1.0 for share in after.values())
    assert after["velocity"] < margins["velocity"]


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 1.0, -0.7])
def test_a_clock_that_is_set_holds_the_arm_and_is_named_whichever_way_it_jumps(loop, jump):
    reference = move(loop)
    command = loop.cycle(reference, stamp=loop.now + loop.spec.control_period + jump)
    assert command.source == CommandSource.STOP
    assert "clock_jump" in command.reasons
    for _ in range(10):  # the new clock is as good as the old
        command = loop.cycle(reference, stamp=loop.now + loop.spec.control_period + jump)
    assert command.source == CommandSource.POLICY
    check_motion(loop)


def test_a_loop_that_was_kept_from_its_work_says_so_and_goes_on(loop):
    reference = move(loop)
    loop.supervisor.note_late_loop()
    command = loop.cycle(reference)
    assert command.source == CommandSource.STOP
    assert command.reasons[0] == "loop_late"
    sources = [loop.cycle(reference).source for _ in range(8)]
    assert sources[:4] == [CommandSource.STOP] * 4
    assert sources[-1] == CommandSource.POLICY
    check_motion(loop)


def test_a_state_that_comes_again_or_late_is_no_restart_and_one_far_behind_is():
    assert is_overtaken(100, 100)
    assert is_overtaken(97, 100)
    assert not is_overtaken(101, 100)
    assert not is_overtaken(0, 100)


@pytest.mark.parametrize("lock_step", [True, False])
def test_a_simulator_that_was_reset_carries_no_contact_into_the_next_episode_but_an_arm_that_was_moved_does(
    loop, lock_step
):
    loop.wrench[2] = 0.9 * loop.limits.force_budget
    for _ in range(2 * loop.limits.force_cycles):
        loop.cycle(loop.spec.home_positions, lock_step=lock_step)
    assert "contact_force_near" in loop.supervisor.reasons
    loop.wrench[2] = 0.0
    elsewhere = loop.spec.home_positions + 0.2
    loop.cycle(commanded_positions=elsewhere, joint_positions=elsewhere, lock_step=lock_step)
    assert "set_point_moved" in loop.supervisor.reasons
    assert ("contact_force_near" in loop.supervisor.reasons) is not lock_step
