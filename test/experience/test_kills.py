"""A collector that is killed at random moments: what was announced is whole, what was running is recovered."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from physai_ros.experience.episode_messages import messages_of
from physai_ros.experience.store import EpisodeStore

LAST_SECOND = 100  # samples

WRITER = """
import sys, time
from physai_ros.experience.store import EpisodeStore
from physai_ros.feedback.collector import PhysicalFeedbackCollector
from physai_ros.feedback.live import LiveRecording
import numpy as np
folder, run, streams = sys.argv[1], int(sys.argv[2]), np.load(sys.argv[3], allow_pickle=False)
live = LiveRecording(PhysicalFeedbackCollector(EpisodeStore(folder)), "/arm")
for summary in live.recover():
    print("recovered", summary.context.episode_id, summary.samples, flush=True)
topics, times, payloads, lengths = (streams[k] for k in ("topics", "times", "payloads", "lengths"))
ends = np.cumsum(lengths)
print("ready", flush=True)
for number in range(1000):
    name = f"{run:04d}-{number:02d}"
    began, fed = time.monotonic(), 0
    for i, topic in enumerate(topics.tolist()):
        data = payloads[ends[i] - lengths[i] : ends[i]].tobytes().replace(b"0000-00", name.encode())
        due = began + (times[i] - times[0]) / 1e9
        while time.monotonic() < due:
            time.sleep(0.001)
        live.add(topic, data, int(times[i]), time.monotonic())
        if topic == "robot_state":
            fed += 1
            if fed % 10 == 0:
                print("fed", name, fed, flush=True)
        for summary in live.poll(time.monotonic()):
            print("announced", summary.context.episode_id, summary.samples, flush=True)
    deadline = time.monotonic() + 2
    while live.recording and time.monotonic() < deadline:
        for summary in live.poll(time.monotonic()):
            print("announced", summary.context.episode_id, summary.samples, flush=True)
        time.sleep(0.01)
"""


def write_stream(episode, path):
    """The messages of an episode, without pickling."""
    stream = messages_of(episode)
    np.savez(
        path,
        topics=np.array([topic for topic, _, _ in stream]),
        times=np.array([when for _, when, _ in stream]),
        payloads=np.frombuffer(b"".join(data for _, _, data in stream), dtype=np.uint8),
        lengths=np.array([len(data) for _, _, data in stream]),
    )


@pytest.mark.parametrize("kills", [1, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_what_was_announced_is_whole_and_what_ran_is_recovered(make_episode, tmp_path, kills):
    write_stream(make_episode(episode_id="0000-00", samples=200), tmp_path / "stream.npz")
    generator = random.Random(kills)
    announced: dict[str, int] = {}
    fed: dict[str, int] = {}
    recovered: dict[str, int] = {}
    folder = tmp_path / "store"
    for run in range(kills):
        output = tmp_path / f"{run}.log"
        with output.open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-c", WRITER, folder, str(run), tmp_path / "stream.npz"],
                stdout=log,
                stderr=subprocess.DEVNULL,
            )
        deadline = time.monotonic() + 200  # on a machine that has other things to do
        while b"ready" not in output.read_bytes():
            assert child.poll() is None and time.monotonic() < deadline, "the writer did not start"
            time.sleep(0.02)
        time.sleep(generator.uniform(0.0, 4.5))  # at a random moment of its second episode or before
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        _note(output, announced, fed, recovered)
    store = EpisodeStore(folder)
    recovered |= {name: len(store.read(name)) for name in store.recover()}
    for name, samples in announced.items():
        episode = store.read(name)
        assert episode.complete and len(episode) == samples == 200, name
    for name, count in fed.items():
        if name not in announced and count > LAST_SECOND:
            assert len(store.read(name)) >= count - LAST_SECOND, name
    assert store.problems() == {}
    again = EpisodeStore(folder)
    (folder / "index.json").unlink(missing_ok=True)
    assert store.summaries() == again.summaries()  # what the index says is what the files say
    assert set(again.ids()) == set(announced) | set(recovered)
    print(f"{kills} kills: {len(announced)} announced, {len(recovered)} recovered, none lost")


def _note(output: Path, announced: dict[str, int], fed: dict[str, int], recovered: dict[str, int]) -> None:
    for line in output.read_text().splitlines():
        word, *rest = line.split()
        if len(rest) == 2:
            {"announced": announced, "fed": fed, "recovered": recovered}[word][rest[0]] = int(rest[1])
