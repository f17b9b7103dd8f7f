"""Trains in the background, in a process and within a CPU budget of its own, and offers candidates."""

from __future__ import annotations

import sys
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from pathlib import Path

import torch
from diagnostic_msgs.msg import DiagnosticArray
from std_srvs.srv import SetBool
from visualization_msgs.msg import MarkerArray

from physai_ros import msg
from physai_ros.experience.store import StoreError
from physai_ros.feedback.collector import EpisodeFeedbackRecord, with_metrics
from physai_ros.feedback.health import TrainingFigures, assess_health
from physai_ros.policy.registry import PolicyManifest
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.ros import qos
from physai_ros.ros.feedback_record import feedback_record
from physai_ros.ros.learning_markers import LearningMarkers
from physai_ros.ros.lifecycle import OK, WARN, ManagedNode, run
from physai_ros.ros.parameters import parameter
from physai_ros.tasks.catalog import load_task
from physai_ros.training.actor_critic_config import ActorCriticConfig
from physai_ros.training.background import BackgroundTraining, TrainingFolders
from physai_ros.training.config import HINDSIGHT, OBJECTIVES, TrainerConfig
from physai_ros.training.dataset import TransitionBuilder
from physai_ros.training.gate import GateConfig
from physai_ros.training.samplers import SAMPLERS
from physai_ros.training.throttle import Throttle
from physai_ros.transfer import side_process

_DEFAULTS = TrainerConfig()
_TICK = 0.02  # [s]
_SLICE = 0.015  # [s] of training between two looks at the messages
_FEEDBACK = 400  # episodes whose feedback is kept, for the health of the learning
_BURST = 0.5  # [s] of CPU time that may be saved up while there is nothing to do


@dataclass(frozen=True)
class Parameters:
    """Parameters of the trainer; a checkpoint that is found goes on with the recipe it was begun with."""

    robot: str = parameter("fr3_sim", "Robot configuration, by name or path.")
    task: str = parameter("pick_place", "Task to learn.")
    store: str = parameter("episodes", "Folder of the episodes.")
    registry: str = parameter("registry", "Folder of the policy versions.")
    checkpoint: str = parameter("trainer.safetensors", "File from which training goes on.")
    sampler: str = parameter(_DEFAULTS.sampler, "Which samples a batch is made of.", choices=SAMPLERS)
    objective: str = parameter(
        _DEFAULTS.objective,
        "bc: imitate demonstrations and corrections; rl: own successes too; actor_critic: heed critics.",
        choices=OBJECTIVES,
    )
    seed: int = parameter(_DEFAULTS.seed, "Seed of weights and sampling.", minimum=0)
    updates_per_episode: int = parameter(
        _DEFAULTS.updates_per_episode, "Updates after each new episode.", minimum=1, maximum=100000
    )
    warm_start_updates: int = parameter(
        _DEFAULTS.warm_start_updates, "Updates on demonstrations before the first policy.", minimum=0, maximum=1000000
    )
    target_activation_rate: float = parameter(
        _DEFAULTS.gate.target_activation_rate,
        "Share of offered samples that get a gradient.",
        minimum=0.001,
        maximum=1.0,
    )
    hindsight: str = parameter(
        _DEFAULTS.hindsight, "Which goals failed episodes are relabelled with, if any.", choices=HINDSIGHT
    )
    advantage: float = parameter(
        _DEFAULTS.advantage,
        "Temperature of the weights by which the policy's own steps are learned; 0 leaves them out.",
        minimum=0.0,
        maximum=100.0,
    )
    weighting: bool = parameter(
        _DEFAULTS.weighting, "Whether failures, contacts and interventions weigh more, idle tails and duplicates less."
    )
    candidate_every: int = parameter(5, "Episodes after which a candidate is offered.", minimum=1, maximum=100000)
    practice: bool = parameter(
        False, "Fit physics to the arm's own episodes, and learn from the expert in that simulator, beside."
    )
    cpu_share: float = parameter(1.0, "Share of one core that training may use.", minimum=0.01, maximum=1.0)


class SparseTrainerNode(ManagedNode):
    """Takes new episodes from the store, trains in slices, publishes status and candidates."""

    node_name = "sparse_trainer"
    Parameters = Parameters

    def configure(self) -> None:
        """Build the training, from the last checkpoint where there is one."""
        p = self.parameters
        torch.set_num_threads(1)
        task = load_task(p.task)
        config = TrainerConfig.of_objective(
            p.objective,
            sampler=p.sampler,
            seed=p.seed,
            updates_per_episode=p.updates_per_episode,
            warm_start_updates=p.warm_start_updates,
            gate=GateConfig(target_activation_rate=p.target_activation_rate),
            hindsight=p.hindsight,
            advantage=p.advantage,
            weighting=p.weighting,
            rl=ActorCriticConfig(delicate=task.delicate),
        )
        spec = RobotSpec.load(p.robot)
        builder = TransitionBuilder(Kinematics(spec), task, chunk_steps=config.chunk_steps)
        practice = None
        if p.practice:
            # With it comes the simulator, of which the trainer has no need otherwise: seconds at every start.
            from physai_ros.transfer import practice_process
            from physai_ros.transfer.own_practice import PracticePlan, practice_folder

            practice = PracticePlan(p.store, str(practice_folder(Path(p.checkpoint))), p.task, p.robot, p.seed)
        rounds = None if practice is None else Path(practice.folder)
        folders = TrainingFolders(Path(p.store), Path(p.registry), Path(p.checkpoint), rounds)
        self._candidates = self.publisher(msg.Candidate, "candidate", qos.EVENT)
        self._statuses = self.publisher(msg.TrainingStatus, "training_status", qos.EVENT)
        self._markers = self.publisher(MarkerArray, "learning_markers", qos.EVENT)
        self._picture = LearningMarkers(spec.base_frame)
        self._paused = False
        self._problem = ""
        self._feedback: OrderedDict[str, EpisodeFeedbackRecord] = OrderedDict()
        self.subscribe(msg.EpisodeFeedback, "episode_feedback", self._on_feedback, qos.EVENT)
        self.serve(SetBool, "pause_training", self._on_pause)
        self._throttle = Throttle(p.cpu_share)
        self.subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.EVENT)
        self.every(_TICK, self._tick)
        self.every(2.0, self._reconcile)
        self.every(1.0, self._publish_status)
        # Last: it takes the folder of the samples, which a configuration that fails must not keep.
        self._training = BackgroundTraining(
            folders,
            task,
            builder,
            config,
            candidate_every=p.candidate_every,
            on_candidate=self._announce,
            on_episode=self._picture.add,
        )
        self._practice = None if practice is None else practice_process.start(practice)

    def activate(self) -> None:
        """Look for what was missed."""
        self._credit = 0.0
        self._credited = time.monotonic()
        self._measured = (time.monotonic(), time.process_time())
        self._window: deque[tuple[int, int]] = deque(maxlen=30)
        self._reconcile()

    def cleanup(self) -> None:
        """Let another process train with the same folders."""
        self._training.close()
        if self._practice is not None:
            side_process.end(self._practice)

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        """State, and why samples were left out."""
        if not self.active:
            return super().diagnose()
        left_out = self._training.quarantined
        values = {"quarantined": len(left_out), "last_quarantined": left_out[-1] if left_out else ""}
        values |= {"permitted_share": f"{self._throttle.share:.3f}", "throttle_cuts": self._throttle.cuts}
        problem = self._problem or self._practice_problem()
        return (WARN if problem else OK), problem or self._state(), values

    def _practice_problem(self) -> str:
        code = self._practice.poll() if self._practice is not None else None
        return f"practice ended with exit code {code}; what it said stands in this node's log" if code else ""

    def _state(self) -> str:
        if self._problem:
            return "failed"
        if self._paused:
            return "paused"
        if not self._training.busy:
            return "waiting"
        return "throttled" if self._credit < 0 else "training"

    def _on_feedback(self, message: msg.EpisodeFeedback) -> None:
        record = with_metrics(feedback_record(message), self.parameters.store)
        self._feedback[record.episode_id] = record
        if len(self._feedback) > _FEEDBACK:
            self._feedback.popitem(last=False)
        self._reconcile()

    def _reconcile(self) -> None:
        try:
            self._training.reconcile()
            self._problem = ""
        except (OSError, StoreError) as error:
            self._fail(error)

    def _tick(self) -> None:
        now = time.monotonic()
        share = self._throttle.update(now, training=self._training.busy and not self._paused)
        self._credit = min(self._credit + share * (now - self._credited), _BURST)
        self._credited = now
        if self._paused or self._problem or self._credit < 0 or not self._training.busy:
            return
        before = time.process_time()
        try:
            self._training.work(_SLICE)
        except (OSError, RuntimeError, ValueError) as error:
            self._fail(error)
        self._credit -= time.process_time() - before
        if not self._training.busy:
            self._publish_status()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """What the nodes of control, in this namespace, say of their deadlines."""
        for status in message.status:
            if status.name.startswith(self.get_namespace().rstrip("/") + "/"):
                for pair in status.values:
                    if pair.key == "missed_deadlines":
                        self._throttle.heard(status.name, int(pair.value))

    def _fail(self, error: Exception) -> None:
        """Training stops until the next look at the store; control goes on."""
        self._problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
        self.get_logger().error(f"training stopped, tried again in 2 s: {self._problem}", throttle_duration_sec=10.0)

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._paused = bool(request.data)
        response.success = True
        response.message = "paused" if self._paused else "going on"
        self._publish_status()
        return response

    def _announce(self, manifest: PolicyManifest) -> None:
        trainer = self._training.trainer
        message = msg.Candidate(version=manifest.version, sha256=manifest.sha256)
        message.header.stamp = self.get_clock().now().to_msg()
        message.parent = manifest.parents[0] if manifest.parents else ""
        message.updates = trainer.counters.updates
        message.episodes = len(trainer.episode_ids)
        message.loss = float(trainer.loss)
        self._candidates.publish(message)

    def _publish_status(self) -> None:
        training = self._training
        recipe = training.config
        message = msg.TrainingStatus(state=self._state(), sampler=recipe.sampler, objective=recipe.objective)
        message.header.stamp = self.get_clock().now().to_msg()
        message.candidate = training.candidate
        wall, cpu = time.monotonic(), time.process_time()
        message.cpu_share = (cpu - self._measured[1]) / max(wall - self._measured[0], 1e-6)
        message.cpu_seconds = cpu
        self._measured = (wall, cpu)
        figures = TrainingFigures() if training.trainer is None else TrainingFigures(loss=float(training.trainer.loss))
        health = assess_health(list(self._feedback.values()), training=figures)
        message.health = health.state.value
        message.detail = self._problem or (training.quarantined[-1] if training.quarantined else health.evidence)
        trainer = training.trainer
        if trainer is not None:
            counters = trainer.counters
            self._window.append((counters.offered, counters.backward))
            offered, backward = (last - first for first, last in zip(self._window[0], self._window[-1], strict=True))
            message.activation_rate = backward / offered if offered else counters.activation_rate
            message.updates = counters.updates
            message.samples_offered = counters.offered
            message.samples_forward = counters.forward
            message.samples_backward = counters.backward
            message.loss = float(trainer.loss)
            message.episodes = len(trainer.episode_ids)
            message.replay_samples = len(trainer)
            if trainer.control.uniform:
                message.detail = f"{trainer.control.reason}; {message.detail}"
        self._statuses.publish(message)
        if self._markers.get_subscription_count():
            self._markers.publish(self._picture.array(message, self.now()))


def main() -> int:
    """Exit code of the trainer's process."""
    return run(SparseTrainerNode)


if __name__ == "__main__":
    sys.exit(main())
