"""Images on disk: appended safely, mapped into memory, gathered by index from any process."""

from __future__ import annotations

import json
import mmap
import os
import zlib
from pathlib import Path

import numpy as np

from physai_ros.durable import hold_folder, replace_file, sync_file

_FORMAT = "physai_ros images 1"
_HEADER = "images.json"
# Bytes gathered after which mapped pages are let go; they stay in the system's cache. A fault maps the whole folio that
# holds what was asked for, up to 2 MB where the file was written in large pieces, so that far more is resident.
_RESIDENT = 1 << 21


class ImageReplayError(ValueError):
    """A folder of images cannot be used; the message says why and what to do."""


class ImageReplay:
    """Images (h, w, c) uint8 in a folder, one file a segment, beside each a file with one CRC-32 an image.

    An image counts once its checksum is on disk, and checksums are written after images are durable: what a crash
    leaves behind that did not count before is dropped on opening, and said in `dropped`. One process writes; any number
    read, and see new images after `refresh`. Segments are mapped with random access declared, so that a gather reads
    the pages of the images asked for and no neighbours.

    Attributes:
        shape: of an image.
        dropped: images at the end that had a checksum and did not match it, when last looked at.
    """

    def __init__(
        self,
        folder: Path,
        shape: tuple[int, int, int] = (84, 84, 3),
        *,
        writable: bool = False,
        segment_images: int = 4096,
    ) -> None:
        """Open the folder, or make it if it is opened for writing.

        Raises:
            ImageReplayError: it is no folder of such images, a segment is missing, or another process writes to it.
        """
        self.folder = folder
        self.shape = tuple(shape)
        self.dropped = 0
        self._lock: int | None = None
        self._maps: dict[int, tuple[mmap.mmap, np.ndarray]] = {}
        self._gathered = 0
        if writable:
            self._begin(segment_images)
        self._segment_images = self._read_header()
        self._image_bytes = int(np.prod(self.shape))
        self._count = 0
        self._valid_in_last: tuple[int, int] = (0, 0)
        self.refresh()
        if writable:
            self._drop_tail()

    def __len__(self) -> int:
        return self._count

    def __enter__(self) -> ImageReplay:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the maps and of the right to write."""
        self._maps.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def clear(self) -> None:
        """Forget all images.

        Raises:
            ImageReplayError: the folder was not opened for writing.
        """
        if self._lock is None:
            raise ImageReplayError(f"{self.folder} was opened for reading; open it with writable=True to clear it")
        self._maps.clear()
        for path in (*self.folder.glob("*.crc"), *self.folder.glob("*.images")):
            path.unlink()
        os.fsync(self._lock)
        self._count, self._valid_in_last = 0, (0, 0)

    def append(self, images: np.ndarray) -> range:
        """The indices of images (n, h, w, c) uint8, which are durable on return.

        Raises:
            ValueError: they have another shape or type.
            ImageReplayError: the folder was not opened for writing.
        """
        if self._lock is None:
            raise ImageReplayError(f"{self.folder} was opened for reading; open it with writable=True to append")
        if images.dtype != np.uint8 or images.shape[1:] != self.shape:
            raise ValueError(
                f"images are {images.dtype} {images.shape}, expected uint8 (n, {', '.join(map(str, self.shape))})"
            )
        first = self._count
        while self._count < first + len(images):
            segment, begin = divmod(self._count, self._segment_images)
            size = min(self._segment_images - begin, first + len(images) - self._count)
            self._write(segment, begin, images[self._count - first :][:size])
            self._count += size
        return range(first, self._count)

    def gather(self, indices: np.ndarray) -> np.ndarray:
        """Images (n, h, w, c) uint8 for indices (n,), copied.

        Raises:
            IndexError: there is no such image.
        """
        indices = np.asarray(indices)
        if len(indices) and not (0 <= indices.min() and indices.max() < self._count):
            raise IndexError(f"indices from {indices.min()} to {indices.max()}, expected 0 to {self._count - 1}")
        gathered = np.empty((len(indices), *self.shape), dtype=np.uint8)
        segments, rows = np.divmod(indices, self._segment_images)
        # In the order in which they lie on the disk.
        for place in np.argsort(indices):
            gathered[place] = self._map(int(segments[place]))[rows[place]]
            self._gathered += self._image_bytes
            if self._gathered > _RESIDENT:
                self._let_go()
        return gathered

    def _let_go(self) -> None:
        """Give the pages that were read back to the system."""
        self._gathered = 0
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapped, _ in self._maps.values():
                mapped.madvise(mmap.MADV_DONTNEED)

    def refresh(self) -> int:
        """Look for what was appended since; returns the number of images."""
        segment = self._count // self._segment_images
        count = self._checksums_in(segment)
        while count == self._segment_images:
            if self._path(segment, "images").stat().st_size < count * self._image_bytes:
                raise ImageReplayError(
                    f"{self._path(segment, 'images')} is shorter than its {count} images: it was truncated; restore "
                    "it, or delete the folder and record anew"
                )
            segment += 1
            count = self._checksums_in(segment)
        if self._path(segment + 1, "crc").exists():
            raise ImageReplayError(
                f"{self._path(segment, 'crc')} is missing or short although later segments exist; restore it, or "
                "delete the folder and record anew"
            )
        if not count and segment:
            # The last images filled their segment.
            segment, count = segment - 1, self._segment_images
        # What this object has checked already need not be checked again.
        known = self._valid_in_last[1] if self._valid_in_last[0] == segment else 0
        bad = self._mismatches(segment, count, known)
        valid = count
        while valid - 1 in bad:
            valid -= 1
        self.dropped = count - valid
        self._valid_in_last = (segment, valid)
        self._count = segment * self._segment_images + valid
        return self._count

    def verify(self) -> list[int]:
        """Indices of images that do not match their checksum; reads everything."""
        bad = []
        for segment in range(-(-self._count // self._segment_images)):
            first = segment * self._segment_images
            bad += [first + row for row in self._mismatches(segment, min(self._count - first, self._segment_images))]
        return sorted(bad)

    def _begin(self, segment_images: int) -> None:
        try:
            self._lock = hold_folder(self.folder)
        except BlockingIOError as error:
            self.close()
            raise ImageReplayError(
                f"another process writes to {self.folder}; wait for it, or open it to read"
            ) from error
        header = self.folder / _HEADER
        if not header.exists():
            if segment_images < 1:
                raise ValueError(f"segment_images is {segment_images}, expected at least 1")
            content = {"format": _FORMAT, "shape": list(self.shape), "segment_images": segment_images}
            replace_file(header, json.dumps(content))

    def _read_header(self) -> int:
        try:
            header = json.loads((self.folder / _HEADER).read_text())
            shape, segment_images = tuple(header["shape"]), int(header["segment_images"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.close()
            raise ImageReplayError(f"{self.folder} is no folder of images ({error})") from error
        if header.get("format") != _FORMAT or shape != self.shape:
            self.close()
            raise ImageReplayError(
                f"{self.folder} holds '{header.get('format')}' of shape {shape}, expected '{_FORMAT}' of {self.shape}"
            )
        return segment_images

    def _path(self, segment: int, kind: str) -> Path:
        return self.folder / f"{segment:06d}.{kind}"

    def _checksums_in(self, segment: int) -> int:
        try:
            return min(self._path(segment, "crc").stat().st_size // 4, self._segment_images)
        except FileNotFoundError:
            return 0

    def _map(self, segment: int) -> np.ndarray:
        if segment in self._maps:
            return self._maps[segment][1]
        with self._path(segment, "images").open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_RANDOM"):
            mapped.madvise(mmap.MADV_RANDOM)
        whole = len(mapped) // self._image_bytes
        images = np.frombuffer(mapped, dtype=np.uint8, count=whole * self._image_bytes).reshape(whole, *self.shape)
        if whole == self._segment_images:  # else it was truncated, and whoever writes will mend it
            self._maps[segment] = (mapped, images)
        return images

    def _mismatches(self, segment: int, count: int, begin: int = 0) -> set[int]:
        """Rows from `begin` to `count` of a segment that do not match their checksum."""
        if count <= begin:
            return set()
        checksums = np.fromfile(self._path(segment, "crc"), dtype="<u4", count=count)
        if self._path(segment, "images").stat().st_size < self._image_bytes:
            return set(range(begin, count))
        images = self._map(segment)
        bad = {row for row in range(begin, count) if row >= len(images) or zlib.crc32(images[row]) != checksums[row]}
        self._let_go()
        return bad

    def _drop_tail(self) -> None:
        """Cut what does not count off the last segment, so that the next image takes its place."""
        segment, valid = self._valid_in_last
        for kind in ("crc", "images"):
            path = self._path(segment, kind)
            if path.exists():
                self._maps.pop(segment, None)
                with path.open("r+b") as file:
                    file.truncate(4 * valid if kind == "crc" else self._segment_images * self._image_bytes)
                sync_file(path)

    def _write(self, segment: int, begin: int, images: np.ndarray) -> None:
        images = np.ascontiguousarray(images)
        path = self._path(segment, "images")
        new = not path.exists()
        with path.open("wb" if new else "r+b") as file:
            if new:
                # Whole from the start, so that a map made now shows what comes later; what is empty takes no space.
                file.truncate(self._segment_images * self._image_bytes)
            file.seek(begin * self._image_bytes)
            file.write(images.data)
            file.flush()
            os.fdatasync(file.fileno())
        checksums = self._path(segment, "crc")
        with checksums.open("r+b" if checksums.exists() else "wb") as file:
            file.seek(4 * begin)
            file.write(np.array([zlib.crc32(image) for image in images], dtype="<u4").tobytes())
            file.flush()
            os.fdatasync(file.fileno())
        self._valid_in_last = (segment, begin + len(images))
        if new:
            assert self._lock is not None
            os.fsync(self._lock)
