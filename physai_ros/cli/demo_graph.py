"""The part of the demonstration that runs the graph: start, watch, wait for the last test, prove parity, stop."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.live import Live
from std_srvs.srv import Trigger

from physai_ros.cli.demo_table import live_table, progress_line
from physai_ros.deployment.environment import talk_as
from physai_ros.deployment.graph import load_graph
from physai_ros.deployment.supervised import SupervisedGraph
from physai_ros.evaluation import protocol
from physai_ros.evaluation.run_record import ActivationSample, EpisodeRow, PolicyChange
from physai_ros.evaluation.trials import TrialSettings
from physai_ros.experience.episode import Purpose
from physai_ros.experience.store import EpisodeStore, StoreError
from physai_ros.msg import EpisodeFeedback, EvaluationStatus, PolicyUpdate, SafetyStatus, TrainingStatus
from physai_ros.ros import qos
from physai_ros.ros.graph_monitor import GraphMonitor
from physai_ros.ros.graph_session import graph_trials
from physai_ros.srv import StartEpisode
from physai_ros.tasks.catalog import load_task
from physai_ros.transfer.demo_run import CANDIDATE_EVERY, MARGIN, MOST_PROMOTION_PAIRS, PROMOTION_PAIRS, DemoRun
from physai_ros.transfer.own_practice import DEMONSTRATIONS, MILESTONES, practice_folder, round_folder

if TYPE_CHECKING:
    from rich.console import Console

_START = 120.0  # [s] patience with imports and discovery on a busy machine
_EPISODE = 90.0  # [s] of wall time
_ATTEMPTS = 5
_LOOK = 0.5  # [s]
_LONGEST_TEST = 180.0  # [s]
_LONGEST_PRACTICE = 1200.0  # [s]


class DemoGraph:
    """The graph of one demonstration; what it says goes into `work.measured`."""

    def __init__(self, work: DemoRun, namespace: str, console: Console) -> None:
        self._work = work
        self._namespace = namespace
        self._console = console
        self._finished: set[str] = set()
        self._arm_time = 0.0
        self._looked = -math.inf
        self._rounds = practice_folder(work.plan.folder / "trainer.safetensors")
        self._practised = 0

    def run(self, minutes: float) -> dict[str, float]:
        """Learn until the plan's episodes are done, or `minutes` are over; returns what the graph measured."""
        plan = self._work.plan
        graph = SupervisedGraph(load_graph("sim"), plan.folder, namespace=self._namespace, settings=self._settings())
        talk_as(graph.environment)
        with graph, GraphMonitor(self._namespace, control=False) as monitor:
            monitor.hooks.append(self._hear)
            monitor.node.create_subscription(EvaluationStatus, "evaluation_status", self._on_evaluation, qos.LATCHED)
            self._learn(graph, monitor, 60.0 * minutes)
            self._await_test(graph, monitor, len(self._work.measured.episodes))
            self._work.final_version = self._work.registry.current()[0]
            parity = self._parity()
            median, tail = monitor.latency_percentiles()
            training = monitor.training
            return {
                "activation_rate": training.activation_rate if training else float("nan"),
                "updates": float(training.updates) if training else float("nan"),
                "simulated_demonstrations": float(self._practised),
                "trainer_cpu_seconds": training.cpu_seconds if training else float("nan"),
                "state_to_command_p50_ms": 1e3 * median,
                "state_to_command_p99_ms": 1e3 * tail,
                "lost_episodes": float(self._lost(monitor)),
                "lost_samples": float(sum(message.lost_samples for message in monitor.feedback)),
                **parity,
            }

    def _settings(self) -> dict[str, dict[str, Any]]:
        plan, physics = self._work.plan, self._work.physics
        where = {"task": plan.task, "robot": plan.robot}
        return {
            "driver_node": where
            | {
                "mode": "lock_step",
                "seed": plan.seed,
                "physics_names": list(physics),
                "physics_values": [float(value) for value in physics.values()],
            },
            "sensor_fusion": {"robot": plan.robot},
            "safety_monitor": {"robot": plan.robot},
            "policy_inference": where | {"mode": "lock_step", "exploration": plan.config.exploration},
            "operator": where | {"intervene": plan.operator},
            "sparse_trainer": where
            | {
                "seed": plan.seed,
                "sampler": plan.sampler,
                "objective": plan.objective,
                "updates_per_episode": plan.config.updates_per_episode,
                "candidate_every": CANDIDATE_EVERY,
                "practice": plan.practice,
            },
            "evaluator": where
            | {
                "seed": plan.seed,
                "margin": MARGIN,
                "episodes": PROMOTION_PAIRS,
                "most_episodes": MOST_PROMOTION_PAIRS,
                "workers": 2,
                # What is asked of the live graph is not simulated here; promotion is tested on the nominal arm.
                "physics": "nominal",
            },
            "episode_manager": where | {"seed": plan.seed, "curriculum": plan.curriculum},
        }

    def _learn(self, graph: SupervisedGraph, monitor: GraphMonitor, longest: float) -> None:
        """Ask for one training episode after another; each candidate is judged before the next episode begins.

        So what is learned does not depend on how busy this machine is.
        """
        plan, began = self._work.plan, time.monotonic()
        monitor.wait(
            lambda: _ready(monitor) and _active(monitor),
            _START,
            "the graph",
        )
        self._work.start_controls()  # no sooner: beside them a graph takes twice as long to come up
        live = Live(get_renderable=lambda: live_table(monitor, plan.episodes, began), console=self._console)
        if self._console.is_terminal:
            live.start()
        try:
            for index in range(plan.episodes):
                monitor.hear_control(index % CANDIDATE_EVERY == 0)  # a sample of the latency
                self._run_episode(graph, monitor)
                practised = plan.practice and index + 1 in MILESTONES
                if practised:
                    self._await_practice(graph, index + 1)
                if practised or (index + 1) % CANDIDATE_EVERY == 0:
                    self._await_test(graph, monitor, index + 1)
                    if not self._console.is_terminal:
                        self._console.print(progress_line(monitor, plan.episodes))
                if time.monotonic() - began > longest:
                    self._console.print(f"{longest / 60.0:g} minutes are over after {index + 1} episodes")
                    return
        finally:
            live.stop()

    def _run_episode(self, graph: SupervisedGraph, monitor: GraphMonitor) -> None:
        """One training episode, until its feedback; asked for again where it was refused or did not begin."""
        for _ in range(_ATTEMPTS):
            request = StartEpisode.Request(purpose=int(Purpose.TRAIN))
            response = monitor.call(StartEpisode, "start_episode", request, timeout=20.0)
            deadline = time.monotonic() + (_EPISODE if response.accepted else 0.0)
            while time.monotonic() < deadline:
                if any(message.episode_id == response.episode_id for message in monitor.feedback):
                    return
                self._require(graph)
                time.sleep(0.02)
            time.sleep(0.2)
        raise RuntimeError(f"no training episode could be run: {response.message or 'no feedback came'}")

    def _require(self, graph: SupervisedGraph) -> None:
        """See to it that the graph runs, twice a second however often it is asked."""
        if time.monotonic() - self._looked < _LOOK:
            return
        self._looked = time.monotonic()
        for status in graph.statuses():
            if status.state in ("FATAL", "EXITED") and graph.graph.process(status.name).essential:
                raise RuntimeError(f"{status.name} ended; its log is {graph.log(status.name)}")
        if not graph.alive:
            raise RuntimeError(f"the graph ended; its logs are in {self._work.plan.folder / 'logs'}")

    def _await_practice(self, graph: SupervisedGraph, episodes: int) -> None:
        """Wait for the round of practice after so many episodes: how busy this machine is must not matter."""
        folder = round_folder(self._rounds, episodes)
        deadline = time.monotonic() + _LONGEST_PRACTICE
        while time.monotonic() < deadline:
            self._require(graph)
            if folder.is_dir():
                self._practised += DEMONSTRATIONS
                return
            time.sleep(0.05)
        self._console.print(f"practice after {episodes} episodes took longer than {_LONGEST_PRACTICE:g} s")

    def _await_test(self, graph: SupervisedGraph, monitor: GraphMonitor, episodes: int) -> None:
        """Wait until the trainer is done with what it has, and the newest version has been judged."""
        deadline = time.monotonic() + _LONGEST_TEST
        known = episodes + self._work.plan.demonstrations + self._practised
        while time.monotonic() < deadline:
            self._require(graph)
            training = monitor.training
            trained = training is not None and training.state == "waiting" and training.episodes >= known
            newest = self._work.registry.versions()[-1]
            judged = newest == self._work.registry.current()[0] or f"promotion-{newest}" in self._finished
            if trained and judged:
                return
            time.sleep(0.05)
        self._console.print(f"a candidate was not judged within {_LONGEST_TEST:g} s; the active version stays")

    def _parity(self) -> dict[str, float]:
        """The same held-out episodes through the graph and in one process."""
        plan = self._work.plan
        if not plan.parity:
            return {"parity_episodes": 0.0, "parity_agreement": float("nan")}
        self._console.print(f"parity: {plan.parity} held-out episodes through the graph and in one process")
        request = protocol.EvaluationRequest(
            self._work.final_version, plan.task, "", "held_out", plan.parity, "graph", plan.seed
        )
        settings = TrialSettings(plan.task, str(self._work.registry.folder), plan.robot, dict(self._work.physics))
        task = load_task(plan.task)
        with graph_trials(self._namespace) as trials:
            through_graph = protocol.evaluate(request, settings, run=lambda waiting: trials.run(waiting, task)).results
        alone = protocol.evaluate(request, settings, workers=2).results
        same = [
            a.success == b.success and abs(a.duration - b.duration) < 1e-6
            for a, b in zip(through_graph, alone, strict=True)
        ]
        return {"parity_episodes": float(len(same)), "parity_agreement": sum(same) / len(same)}

    def _lost(self, monitor: GraphMonitor) -> int:
        """Episodes that were announced and cannot be read."""
        store = EpisodeStore(self._work.plan.folder / "episodes", create=False)
        lost = 0
        for message in monitor.feedback:
            try:
                store.read(message.episode_id)
            except StoreError:
                lost += 1
        return lost

    def _hear(self, message: object) -> None:
        measured, elapsed = self._work.measured, self._work.elapsed
        if isinstance(message, EpisodeFeedback):
            self._arm_time += message.duration
            measured.episodes.append(
                EpisodeRow(
                    index=len(measured.episodes),
                    episode_id=message.episode_id,
                    purpose=Purpose(message.purpose).name.lower(),
                    success=message.success,
                    failure_mode=message.failure_mode,
                    policy_version=message.policy_version,
                    wall_time=elapsed,
                    arm_time=self._arm_time,
                    duration=message.duration,
                    interventions=message.interventions,
                    intervention_seconds=message.intervention_seconds,
                    peak_force=message.peak_force,
                    safety_stops=message.safety_stops,
                )
            )
        elif isinstance(message, PolicyUpdate):
            episodes = len(measured.episodes)
            measured.changes.append(PolicyChange(message.version, message.verdict, episodes, elapsed, message.reason))
        elif isinstance(message, TrainingStatus) and message.samples_offered:
            measured.activation.append(ActivationSample(elapsed, message.updates, message.activation_rate))

    def _on_evaluation(self, message: EvaluationStatus) -> None:
        if message.state in ("done", "failed", "cancelled"):
            self._finished.add(message.evaluation_id)


def _active(monitor: GraphMonitor) -> bool:
    """Whether the lifecycle manager has brought every node up; the last of them is who begins episodes."""
    with suppress(TimeoutError):
        if monitor.call(Trigger, "lifecycle_manager/is_active", Trigger.Request()).success:
            return True
    time.sleep(_LOOK)
    return False


def _ready(monitor: GraphMonitor) -> bool:
    """Whether every node is up: safety may permit, a policy is active, the trainer has said how it is."""
    safe = monitor.safety is not None and monitor.safety.state not in (SafetyStatus.INACTIVE, SafetyStatus.STOPPED)
    return bool(safe and monitor.updates and monitor.training is not None)
