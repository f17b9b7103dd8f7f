"""Files that are whole or as they were, and folders that one process holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physai_ros.durable import hold_folder, replace_file, replacing

_DIES_WRITING = """
import os, signal, sys
from pathlib import Path
from physai_ros.durable import replacing
with replacing(Path(sys.argv[1]), alone=sys.argv[2] == "alone") as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
_HOLDS = """
import sys
from pathlib import Path
from physai_ros.durable import hold_folder
descriptor = hold_folder(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@given(data=st.one_of(st.binary(), st.text()))
def test_what_was_put_is_what_is_read(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("durable") / "new" / "file"
    replace_file(path, data)
    assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("alone", [True, False])
def test_a_block_that_raises_leaves_the_file_as_it_was(tmp_path, alone):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), replacing(path, alone=alone) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("how", ["alone", "among others"])
def test_a_writer_that_is_killed_leaves_the_file_as_it_was(tmp_path, how):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    done = subprocess.run([sys.executable, "-c", _DIES_WRITING, str(path), how], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"before"
    with replacing(path, alone=how == "alone") as file:
        file.write(b"after")
    assert path.read_bytes() == b"after"
    if how == "alone":
        assert os.listdir(tmp_path) == ["file"]


def test_a_reader_never_sees_half(tmp_path):
    path, whole = tmp_path / "file", [bytes([value]) * 200_000 for value in range(8)]
    replace_file(path, whole[0])
    over = threading.Event()

    def write() -> None:
        for round_number in range(40):
            replace_file(path, whole[round_number % 8])
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not over.is_set():
        seen.add(path.read_bytes())
    writer.join()
    assert seen <= set(whole)


def test_one_process_holds_a_folder_until_it_ends(tmp_path):
    folder = tmp_path / "held"
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError):
            hold_folder(folder)
    finally:
        holder.kill()
        holder.communicate()
    os.close(hold_folder(Path(folder)))
