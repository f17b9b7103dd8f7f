"""Pictures as the frames of an MP4 file, one a period, and back; by PyAV, an optional extra."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from physai_ros.experience.lerobot_layout import ExchangeError

CODECS = {"h264": "libx264", "av1": "libsvtav1"}
_OPTIONS = {"libx264": {"crf": "18", "preset": "veryfast"}, "libsvtav1": {"crf": "20", "preset": "8"}}
_KEY_FRAMES = 2  # LeRobot reads frames one by one, in any order: no more than one has to be decoded before each


def video_library() -> ModuleType:
    """PyAV.

    Raises:
        ExchangeError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ExchangeError("videos need PyAV: pip install 'physai_ros[exchange]'") from error
    return av


class VideoWriter:
    """Writes frames, one every 1 / `fps` [s], to an MP4 file.

    Raises:
        ExchangeError: the codec is not known, or PyAV is not installed.
    """

    def __init__(self, path: Path, fps: int, height: int, width: int, codec: str = "h264") -> None:
        if codec not in CODECS:
            raise ExchangeError(f"codec '{codec}' is not known; known are {', '.join(CODECS)}")
        self._av = video_library()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.frames = 0
        self.shape = (height, width, 3)
        self._container = self._av.open(str(path), "w")
        self._stream = self._container.add_stream(CODECS[codec], rate=fps, options=_OPTIONS[CODECS[codec]])
        self._stream.height, self._stream.width = height, width
        # Colour at half resolution needs even sizes.
        self._stream.pix_fmt = "yuv420p" if height % 2 == width % 2 == 0 else "yuv444p"
        self._stream.codec_context.gop_size = _KEY_FRAMES

    def append(self, rgb: np.ndarray) -> None:
        """Add one frame (height, width, 3) uint8.

        Raises:
            ExchangeError: it is of another size.
        """
        if rgb.shape != self.shape:
            raise ExchangeError(
                f"a picture of {rgb.shape[1]}x{rgb.shape[0]} among those of {self.shape[1]}x{self.shape[0]}; export "
                "episodes with cameras of one size at a time"
            )
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame.pts = self.frames
        self.frames += 1
        self._container.mux(self._stream.encode(frame))

    @property
    def megabytes(self) -> float:
        """Size of the file so far."""
        return self.path.stat().st_size / 1e6

    def information(self, fps: int) -> dict[str, object]:
        """What `info.json` says of the video."""
        return {
            "video.height": self.shape[0],
            "video.width": self.shape[1],
            "video.codec": self._stream.codec_context.codec.canonical_name,
            "video.pix_fmt": self._stream.pix_fmt,
            "video.is_depth_map": False,
            "video.fps": fps,
            "video.channels": 3,
            "has_audio": False,
        }

    def close(self) -> None:
        """Finish the file."""
        self._container.mux(self._stream.encode())
        self._container.close()


def read_frames(path: Path) -> Iterator[np.ndarray]:
    """The frames (height, width, 3) uint8 of a video in their order.

    Raises:
        ExchangeError: it cannot be read.
    """
    av = video_library()
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, OSError, IndexError) as error:
        raise ExchangeError(f"{path} is no video that can be read: {error}") from error
