"""EpisodeContext and the verdict of a task's test: message and dataclass."""

from physai_ros import msg
from physai_ros.experience.episode import EpisodeContext, Phase, Purpose
from physai_ros.ros.arrays import number_field
from physai_ros.ros.stamps import seconds_of, set_time
from physai_ros.tasks.task import Outcome


def episode_context_message(context: EpisodeContext) -> msg.EpisodeContext:
    """The message of an episode's context."""
    message = msg.EpisodeContext()
    set_time(message.header.stamp, context.stamp)
    message.episode_id = context.episode_id
    message.phase = int(context.phase)
    message.purpose = int(context.purpose)
    message.task = context.task
    message.instruction = context.instruction
    message.goal = number_field(context.goal)
    message.scenario_json = context.scenario_json
    message.seed = context.seed
    message.policy_version = context.policy_version
    message.robot = context.robot
    message.start_sequence = context.start_sequence
    message.end_reason = context.end_reason
    return message


def episode_context(message: msg.EpisodeContext) -> EpisodeContext:
    """The episode's context of a message."""
    return EpisodeContext(
        episode_id=message.episode_id,
        phase=Phase(message.phase),
        purpose=Purpose(message.purpose),
        task=message.task,
        instruction=message.instruction,
        goal=tuple(message.goal),
        scenario_json=message.scenario_json,
        seed=message.seed,
        policy_version=message.policy_version,
        robot=message.robot,
        start_sequence=message.start_sequence,
        end_reason=message.end_reason,
        stamp=seconds_of(message.header.stamp),
    )


def outcome_message(outcome: Outcome, *, stamp: float, episode_id: str, state_sequence: int) -> msg.TaskOutcome:
    """The message of a verdict: which episode and which state it is about, and the instant of that state [s]."""
    message = msg.TaskOutcome()
    set_time(message.header.stamp, stamp)
    message.episode_id = episode_id
    message.state_sequence = state_sequence
    message.done = bool(outcome.done)
    message.success = bool(outcome.success)
    message.reward = float(outcome.reward)
    message.failure_mode = outcome.failure_mode
    message.stage = outcome.stage
    message.evidence_names = list(outcome.evidence)
    message.evidence_values = number_field(list(outcome.evidence.values()))
    return message


def outcome(message: msg.TaskOutcome) -> Outcome:
    """The verdict of a message."""
    return Outcome(
        done=message.done,
        success=message.success,
        reward=message.reward,
        failure_mode=message.failure_mode,
        stage=message.stage,
        evidence=dict(zip(message.evidence_names, message.evidence_values.tolist(), strict=True)),
    )


TO_MESSAGE = {EpisodeContext: episode_context_message}
FROM_MESSAGE = {msg.EpisodeContext: episode_context, msg.TaskOutcome: outcome}
