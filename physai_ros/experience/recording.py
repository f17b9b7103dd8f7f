"""One episode as an MCAP file that is being written, and the raw messages of one that was.

A recording is `<id>.mcap.partial` until it is finished; what was flushed is in the operating system's hands and
survives the death of the process. `finish` makes the file durable under its own name: whoever sees `<id>.mcap` sees
all of it.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import time
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import lz4.frame
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.records import Channel, Chunk, Metadata, Schema
from mcap.stream_reader import StreamReader
from mcap.well_known import MessageEncoding, Profile, SchemaEncoding
from mcap.writer import CompressionType, Writer

from physai_ros.durable import sync_folder
from physai_ros.experience.messages import PICTURE_TYPE, message_definition

PARTIAL_SUFFIX = ".mcap.partial"
SUMMARY_RECORD = "physai_episode"
SCHEMA_VERSION = 1
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_RECORD_HEAD = struct.Struct("<BQ")
_LARGEST_RECORD = 1 << 30
_DAMAGE = (McapError, ValueError, KeyError, struct.error, zstandard.ZstdError, RuntimeError)


class RecordingError(RuntimeError):
    """A recording cannot be written or read; the message says which file and what to do."""


class EpisodeRecorder:
    """Writes one episode from serialised messages.

    `flush_period` [s] bounds what a kill can take with it. The file is locked while it is open, so that a recovery
    in another process leaves it alone.

    Raises:
        RecordingError: the folder cannot be written to, or a recording of this episode exists.
    """

    def __init__(self, path: Path, flush_period: float = 0.25, prefix: str = "") -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name.removesuffix(".mcap") + PARTIAL_SUFFIX)
        self.messages = 0
        self._prefix = prefix
        self._flush_period = flush_period
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        if self.path.exists():
            raise RecordingError(f"{self.path} exists; an episode is written once, choose another id")
        try:
            self._file = open(self.partial, "xb", buffering=1 << 20)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._writer = Writer(self._file, compression=CompressionType.ZSTD, chunk_size=1 << 20)
            self._writer.start(profile=Profile.ROS2, library="physai_ros")
            self._file.flush()
        except FileExistsError as error:
            raise RecordingError(
                f"{self.partial} exists: a recording of this episode was cut off; recover the store first"
            ) from error
        except OSError as error:
            if hasattr(self, "_file"):
                self.close()
            raise RecordingError(f"cannot record to {self.partial}: {error.strerror}") from error
        self._flushed = time.monotonic()

    def append(self, topic: str, type_name: str, log_time: int, data: bytes) -> None:
        """Add one message; `log_time` [ns] is when it came.

        Raises:
            RecordingError: the disk took no more. What was flushed before stays recoverable.
        """
        try:
            channel = self._channels.get(topic)
            if channel is None:
                channel = self._register(topic, type_name)
            self._writer.add_message(channel, log_time, data, log_time, self.messages)
            self.messages += 1
            self.flush_if_due()
        except OSError as error:
            raise RecordingError(f"cannot write {self.partial}: {error.strerror}; free some space") from error

    def flush_if_due(self) -> None:
        """`flush`, once a flush period."""
        if time.monotonic() - self._flushed > self._flush_period:
            self.flush()

    def flush(self) -> None:
        """Hand everything so far to the operating system."""
        self._flushed = time.monotonic()
        try:
            self._writer.flush()
        except OSError as error:
            raise RecordingError(f"cannot write {self.partial}: {error.strerror}; free some space") from error

    def finish(self, summary: dict[str, Any]) -> Path:
        """Path of the finished file, durable on disk when this returns; `summary` is kept in a metadata record.

        Raises:
            RecordingError: the disk took no more, or a file of this name appeared meanwhile.
        """
        try:
            self._writer.add_metadata(
                SUMMARY_RECORD, {"schema_version": str(SCHEMA_VERSION), "summary": json.dumps(summary)}
            )
            self._writer.finish()
            self._file.flush()
            os.fsync(self._file.fileno())
            if self.path.exists():
                raise RecordingError(f"{self.path} appeared while it was recorded; {self.partial} is kept")
            os.rename(self.partial, self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise RecordingError(f"cannot finish {self.path}: {error.strerror}; free some space") from error
        finally:
            self.close()
        return self.path

    def close(self) -> None:
        """Give the file up as it is; unless finished it stays a partial that can be recovered."""
        try:
            self._file.close()
        except OSError:
            # A full disk refuses the buffer's rest again; the descriptor is closed all the same.
            pass

    def _register(self, topic: str, type_name: str) -> int:
        if type_name not in self._schemas:
            text = message_definition(type_name).encode()
            self._schemas[type_name] = self._writer.register_schema(type_name, SchemaEncoding.ROS2, text)
        name = f"{self._prefix}/{topic}"
        self._channels[topic] = self._writer.register_channel(
            name, MessageEncoding.CDR, self._schemas[type_name], {"offered_qos_profiles": ""}
        )
        return self._channels[topic]


@dataclass
class TopicMessages:
    """Serialised messages of one topic in the order of recording: `log_times` [ns], `payloads` CDR."""

    type_name: str
    log_times: list[int] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)


@dataclass
class RawRecording:
    """All that a file holds: `topics` by `topic_key`, the `summary` and whether the file is whole."""

    topics: dict[str, TopicMessages]
    summary: dict[str, Any] | None
    truncated: bool


def topic_key(name: str, type_name: str) -> str:
    """Key of a topic within an episode: its name without the namespace it was recorded in.

    That is the last part of the name, and the last three, camera/<name>/compressed, of pictures.
    """
    return "/".join(name.split("/")[-3 if type_name == PICTURE_TYPE else -1 :])


def read_recording(path: Path, *, pictures: bool = False) -> RawRecording:
    """Everything in a recording, finished or cut off at any byte; pictures, which are large, only where asked for.

    Raises:
        RecordingError: the file is no MCAP file, or cannot be read.
    """
    topics: dict[str, TopicMessages] = {}
    by_channel: dict[int, TopicMessages | None] = {}
    schemas: dict[int, str] = {}
    summary: dict[str, Any] | None = None
    truncated = False
    try:
        with open(path, "rb") as file:
            records = StreamReader(file, emit_chunks=True, record_size_limit=_LARGEST_RECORD).records
            try:
                for record in records:
                    if isinstance(record, Chunk):
                        try:
                            _read_chunk(_chunk_data(record), schemas, topics, by_channel, pictures)
                        except _DAMAGE:
                            truncated = True  # what comes after it may be sound
                    elif isinstance(record, Metadata) and record.name == SUMMARY_RECORD:
                        summary = json.loads(record.metadata["summary"])
            except _DAMAGE:
                if file.tell() <= 8:
                    raise
                truncated = True
    except (McapError, ValueError, KeyError, struct.error) as error:
        raise RecordingError(f"{path} is no MCAP file; expected an episode recorded by physai_ros") from error
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error.strerror}") from error
    return RawRecording(topics, summary, truncated)


def read_summary(path: Path) -> dict[str, Any]:
    """The summary of a finished recording, without reading its messages.

    Raises:
        RecordingError: the file cannot be read, is cut off, or was not recorded by this package.
    """
    try:
        with open(path, "rb") as file:
            for record in make_reader(file).iter_metadata():
                if record.name == SUMMARY_RECORD:
                    return json.loads(record.metadata["summary"])
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error.strerror}") from error
    except (McapError, ValueError, KeyError, struct.error) as error:
        raise RecordingError(f"{path} is damaged or no MCAP file: {error or type(error).__name__}") from error
    raise RecordingError(f"{path} has no '{SUMMARY_RECORD}' record: it was not recorded by physai_ros")


def is_being_written(path: Path) -> bool:
    """Whether another process holds a partial open."""
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _chunk_data(chunk: Chunk) -> bytes:
    if chunk.compression == "zstd":
        data = zstandard.decompress(chunk.data, chunk.uncompressed_size)
    elif chunk.compression == "lz4":
        data = lz4.frame.decompress(chunk.data)
    else:
        data = chunk.data
    if chunk.uncompressed_crc and zlib.crc32(data) != chunk.uncompressed_crc:
        raise ValueError("a chunk's checksum is wrong")
    return data


def _read_chunk(
    data: bytes,
    schemas: dict[int, str],
    topics: dict[str, TopicMessages],
    by_channel: dict[int, TopicMessages | None],
    pictures: bool,
) -> None:
    """Sort a chunk's messages into their topics; mcap's own reader makes an object of each, which takes far longer."""
    position, end = 0, len(data)
    while position < end:
        opcode, length = _RECORD_HEAD.unpack_from(data, position)
        position += _RECORD_HEAD.size
        if opcode == Opcode.MESSAGE:
            identifier, _, log_time, _ = _MESSAGE_HEAD.unpack_from(data, position)
            messages = by_channel[identifier]
            if messages is None:
                position += length
                continue
            messages.log_times.append(log_time)
            messages.payloads.append(data[position + _MESSAGE_HEAD.size : position + length])
        elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            stream = ReadDataStream(BytesIO(data[position : position + length]))
            if opcode == Opcode.SCHEMA:
                schema = Schema.read(stream)
                schemas[schema.id] = schema.name
            else:
                channel = Channel.read(stream)
                type_name = schemas.get(channel.schema_id, "")
                wanted = pictures or type_name != PICTURE_TYPE
                key = topic_key(channel.topic, type_name)
                by_channel[channel.id] = topics.setdefault(key, TopicMessages(type_name)) if wanted else None
        position += length
