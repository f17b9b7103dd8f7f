"""What comes of the files of a MetaWorld worker, which a stand-in writes here: the interpreter is not installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from physai_ros.cli.training_problems import MetaworldProblem
from physai_ros.policy.network import Architecture, RobotPolicyNetwork

STAND_IN = """#!{python}
import json, sys
import numpy as np

lengths = np.array([4, 3])
observations = np.arange(14, dtype=np.float32).reshape(7, 2)
actions = np.linspace(-0.5, 0.5, 28, dtype=np.float32).reshape(7, 4)
reached = np.array([False, False, True, True, False, False, True])
for line in sys.stdin:
    request = json.loads(line)
    columns = dict(observations=observations, actions=actions, lengths=lengths)
    if request["do"] == "collect":
        columns |= dict(executed=-actions, reached=reached, final=np.zeros((2, 2), dtype=np.float32))
    np.savez(request["out"], **columns)
    result = dict(successes=[True, False], cpu_seconds=1.5)
    print(json.dumps({{"result": result}}), flush=True)
"""


@pytest.fixture
def problem(tmp_path: Path) -> Iterator[MetaworldProblem]:
    python = tmp_path / "python"
    python.write_text(STAND_IN.format(python=sys.executable))
    python.chmod(0o755)
    made = MetaworldProblem("peg-insert-side-v3", python)
    yield made
    made.close()


def test_samplers_imitate_whole_demonstrations_with_what_was_meant(problem):
    first, second = problem.demonstrations(2, 0)
    assert (len(first), len(second)) == (4, 3)
    assert first.imitable.all() and first.demonstration.all() and not first.own.any()
    assert first.actions[0, 0, 0] == pytest.approx(-0.5)
    assert np.isnan(first.executed).all()
    assert first.time_to_end[0] == pytest.approx(4 * 0.0125)


def test_critics_see_demonstrations_up_to_their_success_with_what_was_done(problem):
    first, second = problem.shown(2, 0)
    assert (len(first), len(second)) == (3, 3)
    for each in (first, second):
        assert each.terminal.tolist() == [False, False, True]
        np.testing.assert_array_equal(each.executed, -each.actions[:, 0])


def test_of_own_episodes_success_is_an_end_and_time_running_out_is_none(problem):
    network = RobotPolicyNetwork(Architecture(observation_size=2, action_size=4))
    (won, lost), seconds = problem.own_episodes(network, 2, 0, 0, 0.1)
    assert seconds == 1.5
    assert won.own.all() and not won.imitable.any()
    assert won.terminal.tolist() == [False, False, False, True] and won.success.all()
    assert not lost.terminal.any() and not lost.success.any()
    np.testing.assert_array_equal(won.executed, won.actions[:, 0])
