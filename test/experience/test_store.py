"""The store: ids and purposes, crashes, full and read-only disks."""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from physai_ros.experience import store as store_module
from physai_ros.experience.episode import Purpose
from physai_ros.experience.episode_messages import messages_of
from physai_ros.experience.messages import TOPIC_TYPES
from physai_ros.experience.store import EpisodeStore, StoreError
from physai_ros.experience.summary import EpisodeSummary


def test_episodes_come_back_by_id_and_by_purpose(make_episode, same, tmp_path):
    store = EpisodeStore(tmp_path / "store")
    purposes = [Purpose.TRAIN, Purpose.EVALUATE, Purpose.TRAIN]
    written = {f"{i:06d}": make_episode(seed=i, episode_id=f"{i:06d}", purpose=p) for i, p in enumerate(purposes)}
    for episode in written.values():
        store.write(episode, EpisodeSummary.of(episode, {"peak_force": 3.0}, "none", 1.0))
    reader = EpisodeStore(tmp_path / "store", create=False)
    assert reader.ids() == sorted(written)
    for episode_id, episode in written.items():
        same(episode, reader.read(episode_id))
        summary = reader.summary(episode_id)
        assert (summary.context, summary.outcome) == (episode.context, episode.outcome)
        assert summary.metrics == {"peak_force": 3.0}
    assert [e.context.episode_id for e in reader.episodes(Purpose.TRAIN)] == ["000000", "000002"]
    assert reader.problems() == {}


def test_a_reader_sees_what_another_process_writes(make_episode, tmp_path):
    writer, reader = EpisodeStore(tmp_path), EpisodeStore(tmp_path)
    writer.write(make_episode(episode_id="a"))
    assert list(reader.summaries()) == ["a"]
    writer.write(make_episode(episode_id="b"))
    assert list(reader.summaries()) == ["a", "b"]


@pytest.mark.parametrize("damage", ["delete", "garbage", "stale"])
def test_the_index_is_a_cache(make_episode, tmp_path, damage):
    store = EpisodeStore(tmp_path)
    store.write(make_episode(episode_id="a", task="reach"))
    store.summaries()
    index = tmp_path / "index.json"
    assert index.exists()
    if damage == "delete":
        index.unlink()
    elif damage == "garbage":
        index.write_text("{")
    else:
        store.path("a").unlink()
        store.write(make_episode(episode_id="a", task="pick_place", samples=3))
        assert store.summary("a").context.task == "pick_place"
    assert EpisodeStore(tmp_path).summary("a").samples == (3 if damage == "stale" else 40)


def test_foreign_and_damaged_files_are_named_and_left_alone(make_episode, tmp_path):
    store = EpisodeStore(tmp_path)
    good = store.write(make_episode(episode_id="good"))
    (store.episodes_folder / "notes.txt").write_text("hello")
    (store.episodes_folder / "text.mcap").write_text("hello")
    (store.episodes_folder / "cut.mcap").write_bytes(good.read_bytes()[:-200])
    assert list(store.summaries()) == ["good"]
    assert [e.context.episode_id for e in store.episodes()] == ["good"]
    assert set(store.problems()) == {"notes.txt", "text.mcap", "cut.mcap"}
    with pytest.raises(StoreError, match=r"text\.mcap"):
        store.read("text")


def test_errors_are_one_line_that_says_what_to_do(make_episode, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="is empty; collect episodes"):
        EpisodeStore(tmp_path / "empty", create=False)
    with pytest.raises(StoreError, match="does not exist"):
        EpisodeStore(tmp_path / "none", create=False)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(StoreError, match=r"is no episode store, it holds letter\.txt"):
        EpisodeStore(tmp_path / "home")
    store = EpisodeStore(tmp_path / "store")
    with pytest.raises(StoreError, match="there is no episode 'x'"):
        store.read("x")
    with pytest.raises(StoreError, match="plain file name"):
        store.read("../x")
    (tmp_path / "store" / "store.json").write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(StoreError, match="schema version 99"):
        EpisodeStore(tmp_path / "store")


READER = """
import os, sys
from physai_ros.experience.store import EpisodeStore, StoreError
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
store = EpisodeStore(sys.argv[1])
assert list(store.summaries()) == ["a"]
try:
    store.record("b")
except StoreError as error:
    print(error)
"""


def test_a_read_only_store_can_be_read(make_episode):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        EpisodeStore(folder).write(make_episode(episode_id="a"))
        for path in (folder / "episodes", folder):
            path.chmod(0o555)
        done = subprocess.run([sys.executable, "-c", READER, name], capture_output=True, text=True, timeout=30)
        for path in (folder, folder / "episodes"):
            path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert "Permission denied" in done.stdout


def test_an_older_store_is_migrated_step_by_step(tmp_path, monkeypatch):
    EpisodeStore(tmp_path)
    steps = []
    monkeypatch.setattr(store_module, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(store_module, "MIGRATIONS", {1: lambda f: steps.append((1, f)), 2: lambda f: steps.append(2)})
    EpisodeStore(tmp_path)
    EpisodeStore(tmp_path)
    assert steps == [(1, tmp_path), 2]


def test_a_full_disk_is_one_clear_error_and_loses_nothing_flushed(make_episode, tmp_path):
    store = EpisodeStore(tmp_path)
    entries = list(messages_of(make_episode(samples=300, episode_id="a")))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    recorder = store.record("a")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
        with pytest.raises(RuntimeError, match="cannot write .*free some space"):
            for topic, when, data in entries:
                recorder.append(topic, TOPIC_TYPES[topic], when, data)
                recorder.flush()
        recorder.close()
        with pytest.raises(StoreError):
            store.write(make_episode(samples=300, episode_id="b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert store.recover() == ["a"]
    assert len(store.read("a")) > 20
    assert not store.read("a").complete
    assert store.ids() == ["a"]


RECORDER = """
import sys, time
sys.path.insert(0, sys.argv[2])
from conftest import build_episode
from physai_ros.experience.episode_messages import messages_of
from physai_ros.experience.messages import TOPIC_TYPES
from physai_ros.experience.store import EpisodeStore
from physai_ros.experience.summary import EpisodeSummary
store = EpisodeStore(sys.argv[1])
number = 0
while True:
    identifier = f"{sys.argv[3]}-{number:04d}"
    episode = build_episode(samples=60, episode_id=identifier)
    recorder = store.record(identifier)
    begin = time.monotonic()
    for topic, when, data in messages_of(episode):
        recorder.append(topic, TOPIC_TYPES[topic], when, data)
        if topic == "safe_command":
            print("wrote", identifier, time.monotonic(), flush=True)
            time.sleep(0.002)
    recorder.finish(EpisodeSummary.of(episode).to_dict())
    print("announced", identifier, flush=True)
    number += 1
"""


def test_kill_at_any_moment_loses_no_announced_episode_and_at_most_the_last_second(tmp_path):
    generator = np.random.default_rng(5)
    here = os.path.dirname(__file__)
    store = EpisodeStore(tmp_path)
    announced, partials = set(), 0
    for trial in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", RECORDER, str(tmp_path), here, f"t{trial}"], stdout=subprocess.PIPE, text=True
        )
        try:
            lines = [process.stdout.readline()]
            assert lines[0], "the recorder did not start"
            time.sleep(generator.uniform(0.02, 0.6))
        finally:
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
            process.wait()
        announced |= {line.split()[1] for line in lines if line.startswith("announced")}
        wrote = [line.split()[1:] for line in lines if line.startswith("wrote")]
        recovered = store.recover()
        for episode_id in recovered:
            partials += 1
            episode = store.read(episode_id)
            times = [float(t) for i, t in wrote if i == episode_id]
            assert not episode.complete
            # Samples that were taken over a second before the end must be there.
            assert len(episode) >= sum(t < times[-1] - 1.0 for t in times)
            assert len(episode) >= sum(t < times[-1] - 0.35 for t in times)
    assert announced <= set(store.ids())
    assert announced
    for episode_id in announced:
        assert store.read(episode_id).complete
        assert len(store.read(episode_id)) == 60
    assert store.problems() == {}
    assert partials + len(list((tmp_path / "recovered").iterdir())) > 0


def test_a_partial_that_is_being_written_is_left_alone(make_episode, tmp_path):
    store = EpisodeStore(tmp_path)
    recorder = store.record("a")
    for topic, when, data in messages_of(make_episode(episode_id="a")):
        recorder.append(topic, TOPIC_TYPES[topic], when, data)
    recorder.flush()
    assert EpisodeStore(tmp_path).recover() == []
    recorder.close()
    assert EpisodeStore(tmp_path).recover() == ["a"]
    assert [p.name for p in (tmp_path / "recovered").iterdir()] == ["a.mcap.partial"]
    assert EpisodeStore(tmp_path).recover() == []
