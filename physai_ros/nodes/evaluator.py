"""Tests policies, says which one drives, and takes back what fails: the one writer of `policy_update`."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass

from physai_ros import msg, srv
from physai_ros.evaluation.jobs import JobHandle, JobStatus
from physai_ros.evaluation.promotion import TESTS, PromotionRule
from physai_ros.evaluation.protocol import EvaluationRequest, RunTrials
from physai_ros.evaluation.service import EvaluationService
from physai_ros.evaluation.trials import TrialSettings
from physai_ros.experience.episode import Purpose
from physai_ros.policy.activation import Activation, PolicyFileError
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.ros import qos
from physai_ros.ros.evaluation_action import EvaluationAction, request_of
from physai_ros.ros.graph_trials import GraphTrials, Operator
from physai_ros.ros.lifecycle import ERROR, OK, ManagedNode, run
from physai_ros.ros.parameters import parameter
from physai_ros.ros.stamps import header
from physai_ros.simulation.physics import PhysicsParameters, shifted_arm
from physai_ros.tasks.catalog import load_task


@dataclass(frozen=True)
class Parameters:
    """Parameters of the evaluator."""

    robot: str = parameter("fr3_sim", "Robot configuration, by name or path.")
    task: str = parameter("pick_place", "Task of the candidates, by name, module:Class or file.")
    registry: str = parameter("registry", "Folder of the policy versions.")
    store: str = parameter("episodes", "Folder of the episode store, for shadow runs.")
    promote: bool = parameter(True, "Test new versions and promote those that earn it.")
    mode: str = parameter("not_worse", "Verdict that promotes.", choices=("better", "not_worse"))
    margin: float = parameter(0.1, "Loss in success rate that is still not_worse.", minimum=0.001, maximum=0.5)
    episodes: int = parameter(20, "Paired scenarios to begin with.", minimum=1, maximum=1000)
    most_episodes: int = parameter(60, "Paired scenarios at most.", minimum=1, maximum=1000)
    test: str = parameter(
        "looks", "Promotion by a test at a few sizes, or one that may look after every pair.", choices=TESTS
    )
    regression: int = parameter(0, "Failures that were once fixed to run again before promotion.", minimum=0)
    stage_speeds: tuple[float, ...] = parameter((), "Shares of full speed that a promoted version is tried out at.")
    stage_episodes: tuple[int, ...] = parameter((), "Training episodes without an alarm at each of these.")
    operator_patience: float = parameter(
        300.0, "Time for a person to set up a scene, backend robot [s].", minimum=1.0, maximum=86400.0
    )
    seed: int = parameter(0, "Of the promotion scenarios.", minimum=0, maximum=2**20 - 1)
    physics: str = parameter("nominal", "Arm that promotion is tested on.", choices=("nominal", "shifted"))
    shift_seed: int = parameter(0, "Which shifted arm.", minimum=0)
    physics_names: tuple[str, ...] = parameter((), "Physics parameters to change, see ROBOT_SIM_PARAMS.")
    physics_values: tuple[float, ...] = parameter((), "Their values, in SI units.")
    workers: int = parameter(1, "Processes that run trials.", minimum=1, maximum=64)
    niceness: int = parameter(10, "Of these processes; the control loop goes first.", minimum=0, maximum=19)


class Evaluator(ManagedNode):
    """A thin shell round `EvaluationService`; trials run in processes of their own."""

    node_name = "evaluator"
    Parameters = Parameters

    def configure(self) -> None:
        """Open the registry and begin to serve."""
        p = self.parameters
        self._service: EvaluationService | None = None
        self._actions: EvaluationAction | None = None
        if len(p.stage_speeds) != len(p.stage_episodes):
            raise ValueError(f"{len(p.stage_speeds)} stage speeds with {len(p.stage_episodes)} numbers of episodes")
        rule = PromotionRule(
            p.mode,
            p.margin,
            p.episodes,
            max(p.episodes, p.most_episodes),
            p.seed,
            test=p.test,
            regression=p.regression,
            stages=tuple(zip(p.stage_speeds, p.stage_episodes, strict=True)),
        )
        physics = shifted_arm(p.shift_seed) if p.physics == "shifted" else PhysicsParameters()
        if len(p.physics_names) != len(p.physics_values):
            raise ValueError(f"{len(p.physics_names)} physics names with {len(p.physics_values)} values; give one each")
        physics = physics.with_values(dict(zip(p.physics_names, p.physics_values, strict=True)))
        load_task(p.task)
        settings = TrialSettings(p.task, p.registry, p.robot, physics.values())
        self._graph = GraphTrials(self, store=p.store)
        self._service = EvaluationService(
            PolicyRegistry(p.registry),
            settings,
            rule,
            recordings=p.store,
            workers=p.workers,
            niceness=p.niceness,
            graph=self._on_graph,
        )
        self._generation, self._problem = -1, ""
        self._published: dict[str, JobStatus] = {}
        self._status = self.publisher(msg.EvaluationStatus, "evaluation_status", qos.LATCHED)
        self._updates = self.publisher(msg.PolicyUpdate, "policy_update", qos.LATCHED)
        self.subscribe(msg.Candidate, "candidate", lambda _message: self._reconcile(), qos.EVENT)
        self.subscribe(msg.EpisodeFeedback, "episode_feedback", self._on_feedback, qos.EVENT)
        self.serve(srv.Evaluate, "evaluate", self._serve_evaluate)
        self.serve(srv.GetVerdict, "get_verdict", self._serve_verdict)
        self.serve(srv.RollbackPolicy, "rollback_policy", self._serve_rollback)
        self._actions = EvaluationAction(self, self._service, lambda: self.active)
        self.every(0.2, self._tick)
        self.every(1.0, self._reconcile)

    def activate(self) -> None:
        """Say which version is active."""
        self._generation = -1
        self._announce()

    def cleanup(self) -> None:
        """Stop what is being tested."""
        if self._actions is not None:
            self._actions.destroy()
        if self._service is not None:
            self._service.close()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        """What is being tested, and what keeps the registry from being read."""
        if not self.active:
            return super().diagnose()
        running = [status for status in self._service.jobs.all() if status.state == "running"]
        text = f"tests {running[0].request.policy}" if running else "waits"
        values = {"generation": self._generation, "problem": self._problem}
        return (ERROR, self._problem, values) if self._problem else (OK, text, values)

    def _on_graph(self, job: JobHandle, request: EvaluationRequest, evaluation_id: str) -> RunTrials:
        task, operator = load_task(request.task), None
        if request.backend == "robot":
            frames = self._service.jobs.folder / f"{evaluation_id}.frames"
            operator = Operator(self.parameters.operator_patience, frames)
        return lambda trials: self._graph.run(
            trials, task, on_result=job.on_result, cancelled=job.cancelled, operator=operator
        )

    # The registry.

    def _reconcile(self) -> None:
        try:
            if self.parameters.promote:
                self._service.reconcile()
            self._announce()
            self._problem = ""
        except (PolicyFileError, OSError) as error:
            self._problem = str(error)
            self.get_logger().error(self._problem, throttle_duration_sec=10.0)

    def _announce(self) -> None:
        """Publish what `CURRENT` says, where that is news."""
        activation = self._service.registry.activation()
        if activation.generation in (0, self._generation):
            return
        self._generation = activation.generation
        self._updates.publish(self._update(activation))
        self.get_logger().info(f"policy {activation.version} is active: {activation.verdict}, {activation.reason}")

    def _update(self, activation: Activation) -> msg.PolicyUpdate:
        return msg.PolicyUpdate(
            header=header(self.now()),
            generation=activation.generation,
            version=activation.version,
            previous=activation.previous,
            sha256=self._service.registry.manifest(activation.version).sha256,
            verdict=activation.verdict,
            reason=activation.reason,
            immediate=activation.verdict == "rollback",
        )

    def _on_feedback(self, message: msg.EpisodeFeedback) -> None:
        if message.purpose != int(Purpose.TRAIN) or not message.complete or not message.policy_version:
            return
        try:
            self._service.hear(
                message.policy_version,
                message.success and not message.interventions,
                safety_stopped=message.safety_stops > 0,
            )
        except (PolicyFileError, OSError) as error:
            self.get_logger().error(f"cannot roll back: {error}")
        self._announce()

    # Jobs.

    def _tick(self) -> None:
        for status in self._service.jobs.all():
            if self._published.get(status.evaluation_id) != status:
                self._published[status.evaluation_id] = status
                self._status.publish(self._status_message(status))
            self._actions.tell(status)
        self._announce()

    def _status_message(self, status: JobStatus) -> msg.EvaluationStatus:
        success, lower, upper = status.success
        if status.request.backend == "robot" and not status.finished:
            success = lower = upper = math.nan  # who sets up the scenes must not know who leads
        return msg.EvaluationStatus(
            header=header(self.now()),
            evaluation_id=status.evaluation_id,
            state=status.state,
            policy=status.request.policy,
            against=status.request.against,
            backend=status.request.backend,
            episodes_done=status.episodes_done,
            episodes_total=status.episodes_total,
            success=success,
            lower=lower,
            upper=upper,
            verdict=status.verdict,
            detail=status.detail,
        )

    def _serve_evaluate(self, request: srv.Evaluate.Request, response: srv.Evaluate.Response) -> srv.Evaluate.Response:
        try:
            response.evaluation_id = self._service.request(request_of(request))
            response.accepted = True
        except (ValueError, OSError) as error:
            response.message = str(error)
        return response

    def _serve_verdict(
        self, request: srv.GetVerdict.Request, response: srv.GetVerdict.Response
    ) -> srv.GetVerdict.Response:
        status = self._service.jobs.status(request.evaluation_id)
        if status is None:
            response.message = f"there is no evaluation '{request.evaluation_id}'; evaluate returns the id"
            return response
        response.found, response.done = True, status.finished
        response.verdict, response.report_json = status.verdict, json.dumps(status.report)
        response.message = f"{status.state}: {status.detail}" if status.detail else status.state
        return response

    def _serve_rollback(
        self, request: srv.RollbackPolicy.Request, response: srv.RollbackPolicy.Response
    ) -> srv.RollbackPolicy.Response:
        try:
            activation = self._service.rollback(request.version, request.reason or "asked for")
            response.accepted, response.version = True, activation.version
            self._announce()
        except (ValueError, OSError) as error:
            response.message = str(error)
        return response


def main() -> int:
    """Exit code of the evaluator's process."""
    return run(Evaluator)


if __name__ == "__main__":
    sys.exit(main())
