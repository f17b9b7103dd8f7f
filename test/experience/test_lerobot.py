"""Exchange with LeRobot: there and back, and read by LeRobot itself where it is installed."""

import copy
import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from physai_ros.experience.episode import Purpose
from physai_ros.experience.lerobot_export import export_lerobot
from physai_ros.experience.lerobot_import import ForeignData, import_lerobot
from physai_ros.experience.lerobot_layout import ExchangeError
from physai_ros.experience.pictures import Pictures, encode_picture
from physai_ros.experience.summary import EpisodeSummary

pytest.importorskip("pyarrow", reason="pyarrow and av are an optional extra (requirements/exchange.txt)")
pytest.importorskip("av", reason="pyarrow and av are an optional extra (requirements/exchange.txt)")

CODEC_ERROR = 6.0  # mean over a picture, of 255


def film(stamps: np.ndarray, rate: float, seed: int) -> Pictures:
    """A smooth scene that moves, from a little before the first sample."""
    times = np.arange(stamps[0] - 0.01, stamps[-1], 1.0 / rate)
    y, x = np.mgrid[0:48, 0:64]
    frames = [np.stack([x * 2 + 9 * seed + 2 * i, y * 3 + i, x + y + 3 * i], -1) % 200 for i in range(len(times))]
    return Pictures(times, [encode_picture(cv2.GaussianBlur(f.astype(np.uint8), (0, 0), 2)) for f in frames])


@pytest.fixture(scope="module")
def episodes(make_episode):
    made = []
    for seed in range(3):
        episode = make_episode(
            seed=seed,
            episode_id=f"{seed:06d}",
            samples=60,
            joints=7,
            lost=(5, 6) if seed == 1 else (),
            purpose=list(Purpose)[seed],
            instruction=["reach the mark", "greif den Würfel"][seed % 2],
        )
        episode.pictures = {
            "wrist": film(episode.series["stamp"], 30, seed),
            "scene": film(episode.series["stamp"], 10, 7),
        }
        made.append((episode, EpisodeSummary.of(episode, {"peak_force": 3.0 + seed}, "none", 1.0)))
    return made


@pytest.fixture(scope="module")
def dataset(episodes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lerobot") / "dataset"
    result = export_lerobot(iter(episodes), folder)
    assert (result.episodes, result.frames, result.fps, result.exact) == (3, 178, 100, True)
    return folder


def difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(int) - second.astype(int)).mean())


def test_an_export_gives_the_same_episodes_back(episodes, dataset, same):
    back = list(import_lerobot(dataset))
    assert len(back) == len(episodes)
    for (episode, summary), (again, its_summary) in zip(episodes, back, strict=True):
        same(episode, again)
        assert summary == its_summary
        for camera, pictures in episode.pictures.items():
            shown = pictures.newest_at(episode.series["stamp"])
            seen = np.unique(shown[shown >= 0])
            np.testing.assert_array_equal(again.pictures[camera].stamps, pictures.stamps[seen])
            for index, original in enumerate(seen.tolist()):
                assert difference(pictures.rgb(original), again.pictures[camera].rgb(index)) < CODEC_ERROR


def test_a_dataset_says_what_lerobot_wants_to_know(episodes, dataset):
    info = json.loads((dataset / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 178, 2)
    assert info["features"]["observation.state"]["names"][-1] == "gripper_width"
    assert info["features"]["observation.images.wrist"]["shape"] == [48, 64, 3]
    stats = json.loads((dataset / "meta/stats.json").read_text())
    states = np.concatenate([e.series["joint_positions"] for e, _ in episodes])
    np.testing.assert_allclose(stats["observation.state"]["mean"][:7], states.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(stats["observation.state"]["std"][:7], states.std(axis=0), atol=1e-5)
    np.testing.assert_allclose(stats["observation.state"]["max"][:7], states.max(axis=0), atol=1e-5)
    assert np.shape(stats["observation.images.scene"]["mean"]) == (3, 1, 1)


def test_fewer_frames_a_second_hold_where_the_arm_was_sent(episodes, tmp_path):
    episode, summary = episodes[0]
    result = export_lerobot([(episode, summary)], tmp_path / "d", fps=10)
    assert (result.frames, result.exact) == (6, False)
    ((again, _),) = import_lerobot(tmp_path / "d")
    np.testing.assert_allclose(again.series["joint_positions"], episode.series["joint_positions"][::10], atol=1e-6)
    np.testing.assert_allclose(again.series["command_positions"], episode.series["command_positions"][9::10], atol=1e-6)
    assert again.outcome == episode.outcome


def test_a_foreign_dataset_becomes_demonstrations_of_a_known_arm(episodes, tmp_path):
    episode, summary = copy.deepcopy(episodes[0])
    smooth = np.linspace(0.0, 0.3, len(episode))[:, None] * np.ones(7) + np.array([0, -0.7, 0, -2.3, 0, 1.6, 0.8])
    episode.series["joint_positions"][:] = episode.series["command_positions"][:] = smooth
    export_lerobot([(episode, summary)], tmp_path / "d", fps=20, exact=False)
    (tmp_path / "d/meta/physai_episodes.json").unlink()  # as if somebody else had written it
    foreign = ForeignData(robot="fr3_sim", task="reach", outcome="success", gripper_open=1.0, gripper_closed=-1.0)
    ((again, _),) = import_lerobot(tmp_path / "d", foreign)
    assert again.joint_names[0] == "fr3_joint1"
    assert (again.context.purpose, again.context.task, again.outcome.success) == (Purpose.DEMONSTRATE, "reach", True)
    assert np.isfinite(again.series["ee_position"]).all()
    step = np.diff(again.series["joint_positions"], axis=0)
    assert np.ptp(step) < 1e-3  # straight between frames, on the arm's own grid
    moved = again.series["ee_position"][10] - again.series["ee_position"][0]
    np.testing.assert_allclose(again.series["action_ee_delta"][0, :3], moved, atol=0.02)


def test_what_does_not_fit_is_said_in_one_line(episodes, make_episode, tmp_path):
    episode, summary = episodes[0]
    with pytest.raises(ExchangeError, match="there are no episodes"):
        export_lerobot([], tmp_path / "a")
    other = make_episode(joints=6)
    with pytest.raises(ExchangeError, match="other joints, objects or cameras"):
        export_lerobot([(episode, summary), (other, EpisodeSummary.of(other))], tmp_path / "a")
    assert not list(tmp_path.iterdir())
    (tmp_path / "a").mkdir()
    with pytest.raises(ExchangeError, match="exists; name a new folder"):
        export_lerobot([(episode, summary)], tmp_path / "a")
    with pytest.raises(ExchangeError, match="is no LeRobotDataset"):
        list(import_lerobot(tmp_path / "a"))
    (tmp_path / "a/meta").mkdir()
    (tmp_path / "a/meta/info.json").write_text('{"codebase_version": "v2.1"}')
    with pytest.raises(ExchangeError, match=r"version v2\.1, expected v3\.0; convert it"):
        list(import_lerobot(tmp_path / "a"))
    with pytest.raises(ExchangeError, match="codec 'mjpeg' is not known"):
        export_lerobot([(episode, summary)], tmp_path / "b", codec="mjpeg")
    assert not (tmp_path / "b").exists()


READ_BY_LEROBOT = """
import json, sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
dataset = LeRobotDataset("physai/test", root=sys.argv[1])
frames = [int(i) for i in sys.argv[3:]]
items = [dataset[i] for i in frames]
np.savez(
    sys.argv[2],
    state=np.stack([item["observation.state"].numpy() for item in items]),
    action=np.stack([item["action"].numpy() for item in items]),
    wrist=np.stack([item["observation.images.wrist"].numpy() for item in items]),
    episode=[int(item["episode_index"]) for item in items],
    mean=dataset.meta.stats["action"]["mean"],
    task=[item["task"] for item in items],
)
later = LeRobotDataset("physai/test", root=sys.argv[1], episodes=[1], delta_timestamps={"action": [0.0, 0.01]})
print(json.dumps([len(dataset), dataset.num_episodes, dataset.fps, len(later), list(later[0]["action"].shape)]))
"""


def test_lerobot_itself_reads_an_export(episodes, dataset, tmp_path):
    python = os.environ.get("PHYSAI_LEROBOT_PYTHON", "")
    if not Path(python).is_file():
        pytest.skip(
            "LeRobot wants libraries of its own: PHYSAI_LEROBOT_PYTHON names the Python of an environment with it"
        )
    chosen = [0, 31, 59, 60, 117, 118, 177]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("_ROS", "PYTHONPATH", "LD_LIBRARY"))}
    done = subprocess.run(
        [python, "-c", READ_BY_LEROBOT, dataset, tmp_path / "read.npz", *map(str, chosen)],
        capture_output=True,
        text=True,
        timeout=250,
        env=environment | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [178, 3, 100, 58, [2, 8]]
    read = np.load(tmp_path / "read.npz")
    rows = [(episode, row) for episode, _ in episodes for row in range(len(episode))]
    for index, frame in enumerate(chosen):
        episode, row = rows[frame]
        series = episode.series
        np.testing.assert_array_equal(read["state"][index, :7], series["joint_positions"][row].astype(np.float32))
        np.testing.assert_array_equal(read["action"][index, :7], series["command_positions"][row].astype(np.float32))
        assert read["task"][index] == episode.context.instruction
        pictures = episode.pictures["wrist"]
        rgb = pictures.rgb(int(pictures.newest_at(series["stamp"][[row]])[0]))
        assert difference(rgb, read["wrist"][index].transpose(1, 2, 0) * 255) < CODEC_ERROR
