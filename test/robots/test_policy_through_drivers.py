"""A policy that learned in the embedded simulator, unchanged, through vendors' clients: what reaches the arms."""

import json

import numpy as np

from physai_ros.drivers.feetech_bus import STEP


def test_a_franka_reaches_the_goal_and_stands_where_it_may(emulate, drivers, clients, chain_of, tmp_path):
    emulate("franka_server.py", str(tmp_path / "fr3.xml"), python=clients)
    driver = drivers("fr3", address="127.0.0.1", realtime="ignore")
    chain = chain_of(driver, driver.spec)
    chain.start()
    outcome = chain.reach(np.array([0.5, 0.1, 0.3]), 8.0)
    assert outcome.success, outcome
    # Positions become velocities that follow them: the arm is a little behind, and there when it may stand.
    lags = np.abs(np.array(chain.set_points) - np.array(chain.measured)).max(axis=1)
    assert lags.max() < 0.05 and lags[-1] < 2e-3


def test_a_universal_robot_reaches_and_is_told_what_was_permitted_to_the_last_bit(emulate, drivers, chain_of):
    controller = emulate("ur_controller.py")
    driver = drivers("ur5e", address="127.0.0.1")
    chain = chain_of(driver, driver.spec)
    chain.start()
    outcome = chain.reach(np.array([0.5, 0.1, 0.4]), 8.0)
    assert outcome.success, outcome
    chain.check(np.array(json.loads(controller.ask("targets"))))


def test_servos_are_told_what_was_permitted_in_their_steps(emulate, drivers, chain_of):
    bus = emulate("feetech_bus.py")
    zeros, directions = [2048, 2148, 2048, 2048, 2048], [1, -1, 1, 1, 1]
    driver = drivers("so101", port=bus.greeting, zeros=zeros, directions=directions, timeout=0.2)
    chain = chain_of(driver, driver.spec)
    chain.start()
    chain.reach(np.array([0.2, 0.05, 0.15]), 1.5)
    told = np.array(json.loads(bus.ask("goals")))[:, :5]
    steps = np.array(zeros) + np.round(np.array(directions) * np.array(chain.set_points) / STEP).astype(int)
    chain.check(told, steps)
    assert np.ptp(told, axis=0).max() > 20
