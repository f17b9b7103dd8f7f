"""A success detector is trained from a few labelled episodes, keeps to its rate, and says where it is wrong."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from physai_ros.cli.main import app
from physai_ros.experience.annotations import Label
from physai_ros.experience.episode import Episode, Purpose
from physai_ros.experience.pictures import Pictures, encode_picture
from physai_ros.experience.retention import removable
from physai_ros.experience.store import EpisodeStore
from physai_ros.feedback.collector import PhysicalFeedbackCollector
from physai_ros.feedback.detector_audit import Audit, judge_stored
from physai_ros.feedback.detector_file import DetectorFileError, read_detector, write_detector
from physai_ros.feedback.glances import PERIOD, Outlook
from physai_ros.feedback.success_detector import DetectorNetwork, Fold, SuccessDetector, SuccessWatch, evidence_of
from physai_ros.tasks.reach import Reach
from physai_ros.training.detector_training import DetectorRecipe, LabelledEpisode, TooFewLabels, train_detector

SIZE, TASK = 16, Reach()
RECIPE = DetectorRecipe(rate=0.2, folds=3, updates=40, batch_size=16, features=16, seed=1)


@pytest.fixture(scope="module")
def film(make_episode):
    """An episode whose lamp goes on half a second before its end, where it succeeds."""

    def make(index: int, success: bool, seconds: float = 3.0, **context: object) -> Episode:
        generator = np.random.default_rng(index)
        episode = make_episode(f"{index:06d}", success, "timeout", seconds=seconds, goal=(0.5, 0.0, 0.2), **context)
        stamps = episode.series["stamp"][::10]
        frames = generator.integers(60, 90, (len(stamps), 24, 32, 3)).astype(np.uint8)
        if success:
            frames[stamps > stamps[-1] - 0.5, 6:18, 8:24] = 230
        episode.pictures = {"scene": Pictures(stamps, [encode_picture(frame) for frame in frames])}
        return episode

    return make


@pytest.fixture(scope="module")
def outlook(film):
    return Outlook.on(TASK, film(0, True), ("scene",), SIZE)


@pytest.fixture(scope="module")
def labelled(film, outlook):
    def make(indices) -> list[LabelledEpisode]:
        episodes = [film(i, i % 2 == 0) for i in indices]
        return [LabelledEpisode(e.context.episode_id, outlook.glances(e, TASK), e.outcome.success) for e in episodes]

    return make


@pytest.fixture(scope="module")
def trained(labelled, outlook):
    torch.set_num_threads(1)
    return train_detector(labelled(range(20)), outlook, RECIPE)


@pytest.fixture(scope="module")
def stored(film, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    collector = PhysicalFeedbackCollector(EpisodeStore(folder))
    for i in range(30):
        collector.add(film(i, i % 2 == 0))
    return folder


def call(*arguments: object):
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_it_tells_fresh_episodes_apart_and_not_before_success_shows(trained, labelled):
    for episode in labelled(range(100, 120)):
        verdict = trained.judge(episode.glances)
        assert verdict.success == episode.success, episode.episode_id
        assert (verdict.p_value <= RECIPE.rate) == verdict.success
        if verdict.success:
            assert episode.glances.stamps[-1] - verdict.stamp < 0.6


def test_live_and_afterwards_it_says_the_same(trained, labelled):
    for episode in labelled((200, 201)):
        watch, seen = SuccessWatch(trained), episode.glances
        said = [watch.look(image, told) for image, told in zip(seen.images, seen.told, strict=True)]
        assert np.all(np.diff(said) <= 0)
        assert (said[-1] <= trained.rate) == trained.judge(seen).success


def test_one_glance_is_not_enough(trained, labelled):
    success = labelled((200,))[0].glances
    order = np.array([0, 1, len(success) - 1, 2, 3])  # success flashes up once
    flashed = type(success)(success.stamps[:5], success.images[order], success.told[order])
    assert not trained.judge(flashed).success
    assert dataclasses.replace(trained, in_a_row=1).judge(flashed).success
    assert evidence_of(np.array([1.0, 5.0, 2.0, 3.0]), 2) == 2.0
    assert evidence_of(np.array([1.0]), 2) == -np.inf


@settings(deadline=None, max_examples=50)
@given(
    scores=st.lists(st.lists(st.floats(-5, 5), min_size=0, max_size=8), min_size=2, max_size=5),
    fresh=st.lists(st.floats(-5, 5), min_size=5, max_size=5),
)
def test_a_p_value_is_a_share_and_more_evidence_never_raises_it(scores, fresh):
    outlook = Outlook("reach", ("scene",), 8)
    networks = tuple(DetectorNetwork(outlook, 4) for _ in scores)
    known = tuple(Fold(np.sort(np.array(each)), np.sort(np.array(each[1:]))) for each in scores)
    detector = SuccessDetector(outlook, networks, known)
    least = min(sum(map(len, kind)) for kind in zip(*known, strict=True))
    evidence = np.array(fresh[: len(scores)])
    p_value = detector.p_value(evidence)
    assert 1.0 / (least + 1) <= p_value <= 1.0
    assert detector.p_value(evidence + 1.0) <= p_value
    assert detector.p_value(np.full(len(scores), 6.0)) == 1.0 / (least + 1)


def test_an_episode_that_it_was_trained_on_is_judged_by_the_network_that_has_not_seen_it(trained, labelled):
    failures = [each for each in labelled(range(20)) if not each.success]
    for episode in failures:
        fold = trained.fold_of[episode.episode_id]
        evidence = np.full(len(trained.networks), 99.0)  # the others have learned it by heart
        evidence[fold] = evidence_of(trained.logits(episode.glances)[:, fold], trained.in_a_row)
        failed = [v for known in trained.calibration for v in known.failed.tolist()]
        failed.remove(np.float32(evidence[fold]))
        unfinished = [v for known in trained.calibration for v in known.unfinished.tolist()]
        expected = max((1 + sum(v >= evidence[fold] for v in part)) / (len(part) + 1) for part in (failed, unfinished))
        assert trained.p_value(evidence, episode.episode_id) == pytest.approx(expected)
    wrong = sum(trained.judge(each.glances, each.episode_id).success for each in failures)
    assert wrong <= RECIPE.rate * len(failures) + 1e-9


def test_too_few_labels_are_refused_with_what_it_takes(labelled, outlook):
    with pytest.raises(TooFewLabels, match="10 labelled failures cannot hold .* 0.05: it takes 19; .* at least 0.0909"):
        train_detector(labelled(range(20)), outlook, dataclasses.replace(RECIPE, rate=0.05))
    with pytest.raises(TooFewLabels, match="2 labelled successes cannot hold .* it takes 4; label more of them$"):
        train_detector(labelled((0, 2, *range(1, 20, 2))), outlook, RECIPE)


def test_training_again_gives_the_same_detector(trained, labelled, outlook, tmp_path):
    again = train_detector(labelled(range(20)), outlook, RECIPE)
    assert write_detector(tmp_path / "b", again).digest == write_detector(tmp_path / "a", trained).digest


def test_a_file_gives_the_detector_back_and_a_damaged_one_is_refused(trained, labelled, tmp_path):
    path = tmp_path / "detector.safetensors"
    written = write_detector(path, trained)
    read = read_detector(path)
    assert (read.outlook, read.rate, read.in_a_row) == (trained.outlook, trained.rate, trained.in_a_row)
    assert (read.digest, dict(read.fold_of)) == (written.digest, dict(trained.fold_of))
    glances = labelled((300,))[0].glances
    np.testing.assert_array_equal(read.logits(glances), trained.logits(glances))
    assert read.judge(glances) == trained.judge(glances)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DetectorFileError, match="no success detector .*; train one"):
        read_detector(path)
    with pytest.raises(DetectorFileError, match="there is no success detector"):
        read_detector(tmp_path / "none")


def test_pictures_of_any_size_and_rhythm_become_glances(film, outlook):
    episode = film(1, False)
    assert len(outlook.glances(episode, TASK)) == len(episode.pictures["scene"]) == 30
    dense = episode.series["stamp"][::3]
    pictures = episode.pictures["scene"].encoded
    episode.pictures["scene"] = Pictures(dense, [pictures[i // 4] for i in range(len(dense))])
    seen = outlook.glances(episode, TASK)
    assert seen.images.shape[1:] == (SIZE, SIZE, 3) and np.diff(seen.stamps).min() >= PERIOD - 2e-3
    np.testing.assert_allclose(seen.told[0], [0.08, 1.0, *TASK.features(episode.state(0), np.array([0.5, 0.0, 0.2]))])
    episode.pictures["scene"] = Pictures(dense[:10], pictures[:10])
    assert outlook.glances(episode, TASK).stamps[-1] <= dense[9] + 1e-6
    episode.pictures = {}
    with pytest.raises(ValueError, match="has no pictures of 'scene'; its cameras: none"):
        outlook.glances(episode, TASK)


def test_from_labels_to_labels(stored, tmp_path):
    folder, file = tmp_path / "store", tmp_path / "detector.safetensors"
    shutil.copytree(stored, folder)
    train = ("detector", "train", "--data", folder, "--out", file, "--cameras", "scene", "--image-size", SIZE)
    with pytest.raises(Exception, match="no episode that a person judged"):
        call(*train)
    store = EpisodeStore(folder)
    for i in range(20):
        # In number 3 the task's test was wrong, and in the person's eyes it succeeded.
        store.annotations.label(f"{i:06d}", Label.parse("success" if i % 2 == 0 or i == 3 else "failure", by="anna"))
    made = call(*train, "--false-success-rate", 0.1, "--updates", 40, "--json", tmp_path / "t.json")
    assert "trained on 11 successes and 9 failures" in made.stdout
    found = {row["episode"]: row for row in json.loads((tmp_path / "t.json").read_text())["rows"]}
    assert found["000003"]["finding"] == "missed" and not found["000003"]["test"] and not found["000003"]["unseen"]
    recordings = {path: path.read_bytes() for path in (folder / "episodes").iterdir()}

    said = call("label", "--detector", file, "--data", folder, "--json", tmp_path / "l.json")
    assert "10 episodes labelled" in said.stdout
    assert {path: path.read_bytes() for path in (folder / "episodes").iterdir()} == recordings
    digest = read_detector(file).digest
    for i in range(20, 30):
        given = store.annotations.of(f"{i:06d}").label
        assert given.success == (i % 2 == 0) and given.detector == digest and not given.by_person
        assert store.read(f"{i:06d}").outcome.stage == "detector"
        assert "detected_success" not in store.summary(f"{i:06d}").metrics  # that is what a person contradicts
    assert store.annotations.of("000000").label.by == "anna"
    with pytest.raises(Exception, match="a person judged episode 000000"):
        call("label", "--detector", file, "--data", folder, "--episode", "000000")

    # A person looks through it and says otherwise: that is heard, and is what audits count.
    call("label", "failure", "--data", folder, "--episode", "000020", "--by", "anna")
    call("detector", "audit", file, "--data", folder, "--strips", tmp_path / "wrong", "--json", tmp_path / "a.json")
    audit = json.loads((tmp_path / "a.json").read_text())
    rows = {row["episode"]: row for row in audit["rows"]}
    assert rows["000020"]["finding"] == "false success" and rows["000020"]["unseen"]
    assert (tmp_path / "wrong" / "false_success-000020.png").exists()
    assert audit["figures"]["false_success_count"] >= 1 and audit["figures"]["false_success_upper"] < 1.0
    call("label", "--detector", file, "--data", folder)
    assert store.annotations.of("000020").label.by == "anna"


def test_what_a_detector_labelled_may_be_pruned_and_what_a_person_labelled_may_not(film, tmp_path):
    store = EpisodeStore(tmp_path)
    for i in range(4):
        store.write(film(i, False))
    store.annotations.label("000000", Label.of_detector(True, 0.01, "0" * 12))
    store.annotations.label("000001", Label.parse("success"))
    assert [path.name for path in removable(store, keep_training=1)] == ["000000.mcap", "000002.mcap"]


def test_an_audit_counts_by_kind_with_exact_intervals(trained, film, tmp_path):
    store = EpisodeStore(tmp_path)
    for i in range(100, 110):
        store.write(film(i, i % 2 == 0, purpose=Purpose.TRAIN))
    rows = [judge_stored(trained, store, name, TASK) for name in store.ids()]
    assert {row.finding for row in rows} == {"unjudged"}
    assert Audit.of(rows).against_test[:2] == (0, 10)
    rows = [judge_stored(trained, store, name, TASK, trust_test=True) for name in store.ids()]
    audit = Audit.of(rows)
    assert audit.false_success[:2] == (0, 5)
    # Clopper and Pearson for none of five: 1 - 0.025 ** (1 / 5).
    assert audit.false_success.upper == pytest.approx(1 - 0.025**0.2)
