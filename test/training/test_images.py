"""Images on disk: what was appended comes back, in any process, after any crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.training.images import ImageReplay, ImageReplayError

SHAPE = (8, 6, 3)


def images_from(first: int, count: int) -> np.ndarray:
    """Images that differ, each known from its index."""
    return np.stack([np.random.default_rng(index).integers(256, size=SHAPE) for index in range(first, first + count)])


def written(folder: Path, count: int, *, segment_images: int = 4) -> ImageReplay:
    replay = ImageReplay(folder, SHAPE, writable=True, segment_images=segment_images)
    if count:
        replay.append(images_from(0, count).astype(np.uint8))
    return replay


@settings(max_examples=25, deadline=None)  # the disk takes its time
@given(parts=st.lists(st.integers(1, 9), min_size=1, max_size=4), segment_images=st.integers(1, 5), seed=st.integers(0))
def test_what_was_appended_comes_back_by_index(tmp_path_factory, parts, segment_images, seed):
    folder = tmp_path_factory.mktemp("images")
    first = 0
    for count in parts:  # a new writer each time, as after a restart
        with ImageReplay(folder, SHAPE, writable=True, segment_images=segment_images) as replay:
            assert len(replay) == first
            indices = replay.append(images_from(first, count).astype(np.uint8))
            assert indices == range(first, first + count)
            first += count
    with ImageReplay(folder, SHAPE) as replay:
        indices = np.random.default_rng(seed % 2**32).integers(first, size=10)
        np.testing.assert_array_equal(replay.gather(indices), images_from(0, first)[indices])
        assert replay.verify() == []
        assert replay.dropped == 0


def test_another_process_sees_new_images_when_it_looks_again(tmp_path):
    with written(tmp_path, 3) as writer, ImageReplay(tmp_path, SHAPE) as reader:
        assert len(reader) == 3
        writer.append(images_from(3, 7).astype(np.uint8))
        assert reader.refresh() == 10
        np.testing.assert_array_equal(reader.gather(np.arange(10)), images_from(0, 10))


def test_two_do_not_write_at_once(tmp_path):
    with written(tmp_path, 1), pytest.raises(ImageReplayError, match="another process writes"):
        ImageReplay(tmp_path, SHAPE, writable=True)
    with ImageReplay(tmp_path, SHAPE, writable=True) as replay:
        assert len(replay) == 1


@pytest.mark.parametrize("count", [3, 4, 6, 8])
@pytest.mark.parametrize("damage", ["checksum cut", "image overwritten", "images cut", "checksum without image"])
def test_a_damaged_tail_is_recognised_dropped_and_written_over(tmp_path, count, damage):
    written(tmp_path, count).close()
    segment, last = divmod(count - 1, 4)
    images, checksums = (tmp_path / f"{segment:06d}.{kind}" for kind in ("images", "crc"))
    size = int(np.prod(SHAPE))
    lost = 1
    if damage == "checksum cut":
        os.truncate(checksums, 4 * (last + 1) - 2)
    elif damage == "image overwritten":
        with images.open("r+b") as file:
            file.seek(last * size + size // 2)
            file.write(b"\x00\x01\x02\x03")
    elif damage == "images cut":
        os.truncate(images, last * size + 5)
        if last == 3:
            with pytest.raises(ImageReplayError, match="truncated"):
                ImageReplay(tmp_path, SHAPE)
            return
    else:
        if last == 3:
            return
        with checksums.open("ab") as file:
            file.write(b"\x01\x02\x03\x04")
        lost = 0
    with ImageReplay(tmp_path, SHAPE) as reader:
        assert len(reader) == count - lost
        with ImageReplay(tmp_path, SHAPE, writable=True) as replay:
            assert len(replay) == count - lost
            assert replay.dropped == (0 if damage == "checksum cut" else 1)
            replay.append(images_from(count - lost, 5).astype(np.uint8))
            assert replay.verify() == []
        assert reader.refresh() == count - lost + 5
        np.testing.assert_array_equal(reader.gather(np.arange(len(reader))), images_from(0, len(reader)))


def test_damage_in_the_middle_is_found_and_costs_nothing_else(tmp_path):
    written(tmp_path, 7).close()
    with (tmp_path / "000000.images").open("r+b") as file:
        file.seek(2 * int(np.prod(SHAPE)))
        file.write(bytes(10))
    with ImageReplay(tmp_path, SHAPE) as replay:
        assert len(replay) == 7
        assert replay.verify() == [2]


def test_a_missing_segment_is_said(tmp_path):
    written(tmp_path, 10).close()
    (tmp_path / "000001.crc").unlink()
    with pytest.raises(ImageReplayError, match="000001.crc is missing"):
        ImageReplay(tmp_path, SHAPE)


@pytest.mark.parametrize("images", [np.zeros((2, 8, 6, 3), np.float32), np.zeros((2, 6, 8, 3), np.uint8)])
def test_images_of_another_kind_are_refused(tmp_path, images):
    with written(tmp_path, 0) as replay, pytest.raises(ValueError, match="expected uint8"):
        replay.append(images)


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(ImageReplayError, match="no folder of images"):
        ImageReplay(tmp_path, SHAPE)
    written(tmp_path, 1).close()
    with pytest.raises(ImageReplayError, match="expected"):
        ImageReplay(tmp_path, (8, 8, 3))
    with ImageReplay(tmp_path, SHAPE) as replay:
        with pytest.raises(ImageReplayError, match="writable=True"):
            replay.append(images_from(0, 1).astype(np.uint8))
        with pytest.raises(IndexError, match="expected 0 to 0"):
            replay.gather(np.array([1]))


_WRITER = """
import sys
sys.path[:0] = sys.argv[2].split(":")
import numpy as np
from pathlib import Path
from physai_ros.training.images import ImageReplay
replay = ImageReplay(Path(sys.argv[1]), (8, 6, 3), writable=True, segment_images=16)
while True:
    first = len(replay)
    replay.append(np.stack([np.random.default_rng(i).integers(256, size=(8, 6, 3), dtype=np.int64).astype(np.uint8)
                            for i in range(first, first + 5)]))
    print(len(replay), flush=True)
"""


def test_what_was_confirmed_survives_a_kill_at_any_moment(tmp_path):
    paths = os.pathsep.join(path for path in sys.path if path)
    confirmed = 0
    for lines in (1, 7, 23):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path), paths], stdout=subprocess.PIPE, text=True
        ) as child:
            for _ in range(lines):
                confirmed = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            rest = child.stdout.read().split()
        confirmed = int(rest[-1]) if rest else confirmed
        with ImageReplay(tmp_path, SHAPE) as replay:
            assert len(replay) >= confirmed > 0
            assert replay.verify() == []
            np.testing.assert_array_equal(replay.gather(np.arange(len(replay))), images_from(0, len(replay)))
