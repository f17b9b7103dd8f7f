"""What is done with the episodes of a store, from the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from physai_ros.cli.main import app
from physai_ros.experience.annotations import Label
from physai_ros.experience.episode import EpisodeOutcome, Purpose
from physai_ros.experience.pictures import Pictures, decode_picture, encode_picture
from physai_ros.experience.retention import prune, store_size
from physai_ros.experience.store import EpisodeStore, StoreError
from physai_ros.feedback.collector import PhysicalFeedbackCollector


@pytest.fixture(scope="module")
def build(request):
    """Episodes made of random numbers."""
    import importlib.util

    path = Path(__file__).parents[1] / "experience" / "conftest.py"
    spec = importlib.util.spec_from_file_location("experience_conftest", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build_episode


def call(*arguments: object):
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def filmed(episode, level):
    generator = np.random.default_rng(1)
    frames = [generator.integers(0, level, (40, 60, 3)).astype(np.uint8) for _ in range(4)]
    stamps = np.linspace(episode.series["stamp"][0], episode.series["stamp"][-1], 4)
    episode.pictures = {"scene": Pictures(stamps, [encode_picture(frame) for frame in frames])}
    return episode


@pytest.fixture(scope="module")
def template(build, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "store"
    collector = PhysicalFeedbackCollector(EpisodeStore(folder))
    for i in range(6):
        episode = filmed(build(seed=i, episode_id=f"{i:06d}", samples=40), 200 if i != 4 else 20)
        episode.series["joint_positions"] = np.cumsum(episode.series["joint_positions"] * 0.01, axis=0)
        if i == 5:
            first = collector.store.read("000001").series
            episode.series |= {name: first[name] for name in ("joint_positions", "command_positions")}
        collector.add(episode)
    return folder


@pytest.fixture
def folder(template, tmp_path):
    shutil.copytree(template, tmp_path / "store")
    return tmp_path / "store"


def test_a_check_names_what_is_not_fit_to_learn_from(folder, tmp_path):
    result = call("data", "check", folder, "--json", tmp_path / "check.json")
    assert result.exit_code == 0
    found = json.loads((tmp_path / "check.json").read_text())
    assert found["figures"]["problems"] == 0 and found["figures"]["duplicates"] == 1
    words = {(row["file"], row["warning"].split(":")[0].split(" as ")[0]) for row in found["rows"]}
    assert ("000004", "camera 'scene'") in words
    assert {("000001", "the same motion"), ("000005", "the same motion")} <= words


def test_a_damaged_episode_is_repaired_and_the_original_kept(folder):
    path = folder / "episodes" / "000002.mcap"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    assert call("data", "check", folder).exit_code == 1
    result = call("data", "check", folder, "--repair")
    assert result.exit_code == 0 and "repaired 000002" in result.stdout
    episode = EpisodeStore(folder).read("000002", pictures=True)
    assert not episode.complete
    assert (folder / "recovered" / "000002.mcap").read_bytes() == whole[: len(whole) * 3 // 4]


def test_a_label_given_afterwards_counts_and_the_recording_stays(folder, tmp_path):
    path = folder / "episodes" / "000003.mcap"
    before = path.read_bytes()
    result = call(
        *("label", "failure", "--data", folder, "--episode", "000003", "--mode", "drop", "--by", "anna"),
        *("--frames", tmp_path / "f.png"),
    )
    assert "success → drop (-1)" in result.stdout
    strip = decode_picture((tmp_path / "f.png").read_bytes())
    assert strip.shape[1] > 4 * 200
    assert path.read_bytes() == before
    for store in (EpisodeStore(folder), EpisodeStore(folder, create=False)):
        assert store.read("000003").outcome.failure_mode == "drop"
        summary = store.summary("000003")
        assert (summary.outcome.success, summary.outcome.reward, summary.failure_mode) == (False, -1.0, "drop")
        assert summary.metrics["detected_success"] == 1.0
    call("label", "0.5", "--data", folder, "--episode", "000003")
    assert EpisodeStore(folder).read("000003").outcome == EpisodeOutcome(
        True, 0.5, "none", "label", {"distance": 0.004}, EpisodeStore(folder).read("000003").context.stamp
    )
    call("label", "none", "--data", folder, "--episode", "000003")
    assert EpisodeStore(folder).read("000003").outcome.stage == "at the mark"
    for arguments, message in ((("2",), "from -1 to 1"), (("yes",), "expected success, failure"), ((), "name a store")):
        with pytest.raises(ValueError, match=message):
            call("label", *arguments, *(("--data", folder) if arguments else ()))


def test_a_split_keeps_a_scenario_in_one_part(folder, tmp_path):
    call("data", "split", folder, "--out", tmp_path / "parts", "--validation", "0.3", "--test", "0.3")
    parts = {name: set(EpisodeStore(tmp_path / "parts" / name).ids()) for name in ("train", "validation", "test")}
    assert set.union(*parts.values()) == set(EpisodeStore(folder).ids())
    assert sum(map(len, parts.values())) == 6
    call("data", "split", folder, "--out", tmp_path / "b", "--json", tmp_path / "s.json")
    again = json.loads((tmp_path / "s.json").read_text())
    assert {row["episode"] for row in again["rows"]} == set(EpisodeStore(folder).ids())


def test_plots_are_drawn(folder, tmp_path):
    result = call("data", "plot", folder, "000000", "--out", tmp_path / "p.png", "--strip", tmp_path / "s.png")
    assert decode_picture((tmp_path / "p.png").read_bytes()).shape[0] > 500
    assert "scene" in result.stdout
    assert "brightness/scene" in call("data", "inspect", folder, "000000").stdout


def test_a_quota_never_takes_what_is_needed(build, tmp_path):
    store = EpisodeStore(tmp_path / "s")
    collector = PhysicalFeedbackCollector(store)
    kinds = [
        ("000000", Purpose.EVALUATE, 1),
        ("000001", Purpose.DEMONSTRATE, 2),
        ("000002", Purpose.TRAIN, 2),  # an operator helped
        ("000003", Purpose.TRAIN, 1),  # labelled
        ("000004", Purpose.TRAIN, 1),  # marked
        ("000005", Purpose.TRAIN, 1),
        ("000006", Purpose.EVALUATE, 1),
        ("000007", Purpose.TRAIN, 1),  # the newest
    ]
    for name, purpose, source in kinds:
        episode = build(seed=int(name), episode_id=name, purpose=purpose)
        episode.series["command_source"][:] = source
        collector.add(episode)
    store.annotations.label("000003", Label.parse("success"))
    call("data", "mark", tmp_path / "s", "000004", "--reason", "for the paper")
    (tmp_path / "s/recovered").mkdir()
    (tmp_path / "s/recovered/000001.mcap.partial").write_bytes(b"0" * 1000)
    (tmp_path / "s/recovered/999999.mcap.partial").write_bytes(b"0" * 1000)  # all that there is of it
    expected = ["000001.mcap.partial", "000000.mcap", "000006.mcap", "000005.mcap"]
    assert list(prune(store, 0, keep_training=1, dry_run=True).removed) == expected
    assert len(store) == 8
    size = store_size(store)
    assert prune(store, size, keep_training=1).removed == ()
    assert list(prune(store, size - 1, keep_training=1).removed) == expected[:1]
    assert call("data", "prune", tmp_path / "s", "--quota", "0", "--keep-training", "1").exit_code == 1
    assert store.ids() == ["000001", "000002", "000003", "000004", "000007"]
    assert (tmp_path / "s/recovered/999999.mcap.partial").exists()
    with pytest.raises(StoreError, match="there is no episode"):
        call("data", "mark", tmp_path / "s", "nothing")
