"""An alarm beside the version that it was calibrated for: `alarm.json` says what `alarm.safetensors` holds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.numpy
from safetensors import SafetensorError

from physai_ros.durable import replace_file
from physai_ros.policy.activation import PolicyFileError
from physai_ros.policy.alarm import SCORES, Alarm

ALARM = "alarm.json"
_FORMAT = "physai_ros alarm 1"
_PLAIN = ("threshold", "false_alarm_rate", "reference_episodes", "calibration_episodes", "weights_sha256", "window")


def write_alarm(folder: Path, alarm: Alarm) -> None:
    """Keep an alarm in a version's folder, in place of the one before; a reader sees the old one, the new one or none.

    The data's name carries its digest, so that the manifest, which is renamed last, always finds the data it speaks of.
    """
    data = safetensors.numpy.save({"reference": alarm.reference, "scales": alarm.scales})
    digest = hashlib.sha256(data).hexdigest()
    name = f"alarm-{digest[:12]}.safetensors"
    manifest: dict[str, Any] = {"format": _FORMAT, "data": name, "sha256": digest, "scores": list(SCORES)}
    replace_file(folder / name, data)
    replace_file(folder / ALARM, json.dumps(manifest | {k: getattr(alarm, k) for k in _PLAIN}, indent=1))
    for old in folder.glob("alarm-*.safetensors"):
        if old.name != name:
            old.unlink(missing_ok=True)


def read_alarm(folder: Path, weights_sha256: str) -> Alarm | None:
    """The alarm in a version's folder, verified; None where none was calibrated.

    Raises:
        PolicyFileError: it is damaged, or was calibrated for other weights.
    """
    path = folder / ALARM
    again = "calibrate it again with physai policies calibrate, or delete the file"
    try:
        manifest = json.loads(path.read_text())
        if manifest["format"] != _FORMAT or tuple(manifest["scores"]) != SCORES:
            raise PolicyFileError(f"{path} is of format '{manifest['format']}', expected '{_FORMAT}'; {again}")
        if manifest["weights_sha256"] != weights_sha256:
            raise PolicyFileError(f"{path} was calibrated for other weights; {again}")
        data = (folder / Path(manifest["data"]).name).read_bytes()
        if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
            raise PolicyFileError(f"{path}: {manifest['data']} is corrupted; {again}")
        arrays = safetensors.numpy.load(data)
        return Alarm(arrays["reference"], arrays["scales"], **{name: manifest[name] for name in _PLAIN})
    except PolicyFileError:
        raise
    except FileNotFoundError as error:
        if Path(error.filename) == path:
            return None
        raise PolicyFileError(f"{path} lacks its data {error.filename}; {again}") from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError, SafetensorError) as error:
        raise PolicyFileError(f"{path} is no alarm ({error}); {again}") from error
