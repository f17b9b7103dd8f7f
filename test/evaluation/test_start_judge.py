"""What a policy makes of start states is what it decides on the first state of a rollout."""

import numpy as np

from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.start_judge import StartJudge
from physai_ros.policy.network import Prediction
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task


class Remembering:
    """A policy that keeps what it saw."""

    version = "remembering"

    def __init__(self) -> None:
        self.seen = []

    def predict(self, observation) -> Prediction:
        """Nothing to do; the value counts the observations."""
        self.seen.append(observation)
        return Prediction(np.zeros((1, 5)), float(len(self.seen)), 0.5)


def test_the_start_is_seen_as_the_runtime_sees_it():
    task, policy = load_task("pick_place"), Remembering()
    rollout = Rollout(RobotSpec.load("fr3_sim"), task, policy=policy)
    scenarios = [task.sample_scenario(np.random.default_rng(seed)) for seed in range(3)]
    judgement = StartJudge(rollout.arm.kinematics, task).judge(policy, [one.parameters for one in scenarios])
    assert judgement.value.tolist() == [1.0, 2.0, 3.0]
    asked, policy.seen = policy.seen, []

    class Seen(Exception):
        """The first state was seen."""

    def stop(_state, _command) -> None:
        raise Seen

    for scenario, imagined in zip(scenarios, asked, strict=True):
        policy.seen.clear()
        try:
            rollout.run(scenario, 1, on_cycle=stop)
        except Seen:
            pass
        np.testing.assert_allclose(imagined, policy.seen[0], atol=2e-2)
