"""A control arm of the demonstration: the same learning in one process, with one thing changed.

`python -m physai_ros.transfer.control_arm` reads one line of JSON (`ControlArm`) and writes one for every
episode, then one for the result: two arms run side by side on two cores.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from physai_ros.evaluation.rollout import Rollout
from physai_ros.experience.episode import Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.tasks.catalog import load_task
from physai_ros.training.actor_critic_config import ActorCriticConfig
from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import TransitionBuilder
from physai_ros.training.publishing import publish_policy
from physai_ros.transfer import side_process
from physai_ros.transfer.first_policy import warm_start
from physai_ros.transfer.learning_run import LearningPlan, LearningResult, learn_on_arm


@dataclass(frozen=True)
class ControlArm:
    """One arm of the experiment.

    It starts from the demonstrations in the store `demonstrations`, keeps its versions in the folder `registry`, and
    works on the nominal arm with the changes `physics`. A candidate is taken without a test.
    """

    demonstrations: str
    registry: str
    task: str
    robot: str
    seed: int
    episodes: int
    candidate_every: int
    warm_start_updates: int
    sampler: str = "ast"
    curriculum: str = "uniform"
    operator: bool = True
    objective: str = "bc"
    updates_per_episode: int = TrainerConfig.updates_per_episode
    physics: Mapping[str, float] = field(default_factory=dict)

    def run(self, on_episode: Callable[[int], None]) -> LearningResult:
        """The result of learning; `on_episode` is told how many episodes are done."""
        task = load_task(self.task)
        rollout = Rollout(RobotSpec.load(self.robot), task, physics=PhysicsParameters().with_values(dict(self.physics)))
        config = TrainerConfig.of_objective(
            self.objective,
            sampler=self.sampler,
            seed=self.seed,
            warm_start_updates=self.warm_start_updates,
            updates_per_episode=self.updates_per_episode,
            rl=ActorCriticConfig(delicate=task.delicate),
        )
        builder = TransitionBuilder(rollout.arm.kinematics, task, chunk_steps=config.chunk_steps)
        demonstrations = list(EpisodeStore(self.demonstrations, create=False).episodes(Purpose.DEMONSTRATE))
        trainer = warm_start(demonstrations, task, builder, config, lambda _done, _total: None)
        registry = PolicyRegistry(self.registry)
        registry.activate(publish_policy(trainer, task, registry).version, reason="imitates the demonstrations")
        plan = LearningPlan(
            self.episodes, self.candidate_every, self.operator, seed=self.seed, curriculum=self.curriculum
        )
        return learn_on_arm(rollout, trainer, registry, plan, lambda _candidate, _current: True, on_episode)


def start(arm: ControlArm) -> subprocess.Popen[str]:
    """A process that runs the arm in the CPU time that others leave."""
    return side_process.start(__name__, asdict(arm) | {"physics": dict(arm.physics)})


def result_of(process: subprocess.Popen[str], on_episode: Callable[[int], None]) -> LearningResult:
    """Wait for an arm's process and return its result.

    Raises:
        RuntimeError: it failed; its own words are on standard error.
    """
    result = None
    for line in process.stdout:
        said = json.loads(line)
        if "done" in said:
            on_episode(said["done"])
        else:
            result = LearningResult(**said | {"own_success": tuple(said["own_success"])})
    process.stdin.close()
    if process.wait() or result is None:
        raise RuntimeError(f"a control arm failed with exit code {process.returncode}; what it said stands above")
    return result


def main() -> None:
    """Run the arm that the first line of standard input describes, as long as that stays open."""
    import torch

    torch.set_num_threads(1)
    arm = ControlArm(**side_process.asked())
    Path(arm.registry).mkdir(parents=True, exist_ok=True)
    result = arm.run(lambda done: print(json.dumps({"done": done}), flush=True))
    print(json.dumps(asdict(result)), flush=True)


if __name__ == "__main__":
    main()
