"""A success detector on disk: one safetensors file, whose metadata say what it looks at and how it was calibrated."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from safetensors import SafetensorError, safe_open

from physai_ros.durable import replace_file
from physai_ros.feedback.glances import Outlook
from physai_ros.feedback.success_detector import DetectorNetwork, Fold, SuccessDetector

_FORMAT = "physai_ros success detector 1"


class DetectorFileError(ValueError):
    """A file cannot be used as a detector; the message says why and what to do."""


def write_detector(path: Path, detector: SuccessDetector) -> SuccessDetector:
    """Keep a detector in a file, whole or not at all; returns it with the file's digest."""
    arrays: dict[str, np.ndarray] = {}
    for fold, (network, known) in enumerate(zip(detector.networks, detector.calibration, strict=True)):
        arrays |= {f"calibration.{fold}.{kind}": values for kind, values in known._asdict().items()}
        arrays |= {f"networks.{fold}.{name}": value.numpy() for name, value in network.state_dict().items()}
    about = {
        "format": _FORMAT,
        "outlook": dataclasses.asdict(detector.outlook),
        "features": detector.networks[0].head.in_features,
        "folds": len(detector.networks),
        "rate": detector.rate,
        "in_a_row": detector.in_a_row,
        "doubt": detector.doubt,
        "fold_of": dict(detector.fold_of),
    }
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data = safetensors.numpy.save(arrays, {"detector": json.dumps(about)})
    replace_file(path, data)
    return dataclasses.replace(detector, digest=_digest(data))


def read_detector(path: Path) -> SuccessDetector:
    """The detector in a file.

    Raises:
        DetectorFileError: there is none, or it is damaged.
    """
    again = "train one with `physai detector train`"
    try:
        with safe_open(path, "numpy") as file:
            about = json.loads((file.metadata() or {})["detector"])
            if about["format"] != _FORMAT:
                raise DetectorFileError(f"{path} is of format '{about['format']}', expected '{_FORMAT}'; {again}")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a mapping
        outlook = Outlook(**{k: tuple(v) if isinstance(v, list) else v for k, v in about["outlook"].items()})
        networks = []
        for fold in range(about["folds"]):
            network = DetectorNetwork(outlook, about["features"])
            prefix = f"networks.{fold}."
            own = {k.removeprefix(prefix): torch.from_numpy(v) for k, v in arrays.items() if k.startswith(prefix)}
            network.load_state_dict(own)
            networks.append(network.eval())
        return SuccessDetector(
            outlook,
            tuple(networks),
            tuple(
                Fold(*(arrays[f"calibration.{fold}.{kind}"] for kind in Fold._fields)) for fold in range(about["folds"])
            ),
            rate=about["rate"],
            in_a_row=about["in_a_row"],
            doubt=about["doubt"],
            fold_of=about["fold_of"],
            digest=_digest(path.read_bytes()),
        )
    except DetectorFileError:
        raise
    except FileNotFoundError as error:
        raise DetectorFileError(f"there is no success detector {path}; {again}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise DetectorFileError(f"{path} is no success detector ({error}); {again}") from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
