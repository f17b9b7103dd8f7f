"""The streamed file is a safetensors file that others read, and holds the old or the new, never a mixture."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors import safe_open

from physai_ros.training.tensor_file import write_tensors

KINDS = st.sampled_from(["bool", "uint8", "int32", "int64", "float32", "float64"])
ARRAYS = KINDS.flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0)))


@settings(deadline=None, max_examples=50)
@given(content=st.dictionaries(st.text("abc.", min_size=1, max_size=5), ARRAYS, max_size=5), text=st.text())
def test_safetensors_reads_what_was_written(tmp_path_factory, content, text):
    path = tmp_path_factory.mktemp("tensors") / "file.safetensors"
    write_tensors(path, content, {"said": text})
    with safe_open(path, framework="numpy") as file:
        assert file.metadata() == {"said": text}
        assert set(file.keys()) == set(content)
        for name, array in content.items():
            read = file.get_tensor(name)
            assert (read.dtype, read.shape) == (array.dtype, array.shape)
            np.testing.assert_array_equal(read, array)


def test_an_error_on_the_way_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "file.safetensors"
    write_tensors(path, {"a": np.arange(3)}, {})
    before = path.read_bytes()
    for array in (np.array(["text"]), np.arange(3).astype(">i8")):
        with pytest.raises(ValueError, match="expected one of"):
            write_tensors(path, {"a": np.arange(4), "b": array}, {})

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_tensors(path, {"a": np.arange(4)}, {})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


_WRITE = """
import resource, sys
sys.path[:0] = sys.argv[2].split(":")
from pathlib import Path
import numpy as np
from physai_ros.training.tensor_file import write_tensors
array = np.ones((64, 1 << 18), dtype=np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
write_tensors(Path(sys.argv[1]) / "file.safetensors", {"a": array}, {})
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before), array.nbytes)
"""


def test_nothing_is_held_twice(tmp_path):
    paths = ":".join(path for path in sys.path if path)
    arguments = [sys.executable, "-c", _WRITE, str(tmp_path), paths]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    more, held = map(int, done.stdout.split())
    assert more < 0.1 * held
