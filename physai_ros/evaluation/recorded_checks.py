"""What a candidate must pass on recordings before it is tried: the shadow run and the safety replay."""

from __future__ import annotations

from physai_ros.evaluation.safety_replay import ReplayReport, SafetyReplay, judged
from physai_ros.evaluation.shadow import ShadowReport, recorded_observations, shadow_run
from physai_ros.evaluation.trials import TrialSettings
from physai_ros.experience.episode import Episode
from physai_ros.experience.store import EpisodeStore, StoreError
from physai_ros.policy.observation import ObservationEncoder
from physai_ros.policy.registry import Policy, PolicyFileError, PolicyRegistry
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task


def recorded_episodes(settings: TrialSettings, recordings: str) -> list[Episode]:
    """The newest recordings of the task, newest first; none where there is no store."""
    if not recordings:
        return []
    try:
        store = EpisodeStore(recordings, create=False)
        episodes = [store.read(name) for name in store.ids()[-10:]]
    except StoreError:
        return []
    name = load_task(settings.task).name
    return [episode for episode in reversed(episodes) if episode.context.task == name and len(episode)]


def shadow_on(recorded: list[Episode], policy: Policy, settings: TrialSettings, limit: int) -> ShadowReport | None:
    """Shadow run on recordings; None where there are none."""
    task = load_task(settings.task)
    kinematics = Kinematics(RobotSpec.load(settings.robot))
    encoder = ObservationEncoder(kinematics, task.features, task.action_axes, task.action_scale)
    observations, done = recorded_observations(recorded, encoder, limit)
    return shadow_run(policy, observations, done) if len(observations) else None


def replay_on(
    recorded: list[Episode],
    registry: PolicyRegistry,
    policy: Policy,
    current: str,
    settings: TrialSettings,
    states: int,
) -> ReplayReport | None:
    """Safety replay on recordings, beside the current policy's; None where there are none."""
    if not recorded or not states:
        return None
    replay = SafetyReplay(RobotSpec.load(settings.robot), load_task(settings.task))
    try:
        now = replay.run(registry.load(current), recorded, states) if current and current != policy.version else None
    except PolicyFileError:
        now = None  # the current one cannot be read any more: nothing to be measured against
    return judged(replay.run(policy, recorded, states), now)
