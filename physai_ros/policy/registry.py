"""The folder that holds every version of a policy, and says which one is active."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError

from physai_ros import __version__
from physai_ros.durable import replace_file, sync_folder
from physai_ros.policy.acting import ActingNetwork, SensingNetwork, ready_to_act
from physai_ros.policy.activation import CURRENT, Activation, PolicyFileError, read_activation
from physai_ros.policy.alarm import Alarm
from physai_ros.policy.alarm_file import read_alarm, write_alarm
from physai_ros.policy.history import code_digest, note_activation
from physai_ros.policy.network import Architecture, Prediction, RobotPolicyNetwork
from physai_ros.policy.observation import LAYOUT
from physai_ros.policy.probe import TOLERANCE, departure, probe

WEIGHTS = "weights.safetensors"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class PolicyManifest:
    """What is known of a version beside its weights.

    Attributes:
        version: folder name, six digits.
        task: task that it was trained for.
        architecture: sizes of the network.
        action_axes, action_scale: components of `ee_delta` it controls and their largest displacement [m or rad].
        observation_layout: layout of the observation vector.
        parents: versions that it was trained from.
        metrics: named figures of its training.
        sha256: of the weights file.
        code_version: of the package that wrote it; `code_sha256` of its source, for what a number cannot tell.
        normalization: how observations are normalized.
        data: what it was trained on, such as the number of episodes and a digest of their ids.
        configuration: how it was trained.
        probe: what the network gave for fixed inputs where it was written (`policy.probe`); empty in older versions.
    """

    version: str
    task: str
    architecture: Architecture
    action_axes: tuple[int, ...]
    action_scale: tuple[float, ...]
    observation_layout: str
    parents: tuple[str, ...]
    metrics: dict[str, float]
    sha256: str
    code_version: str
    normalization: str = "per-component mean and scale, clipped at 5, buffers of the weights"
    code_sha256: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    configuration: dict[str, Any] = field(default_factory=dict)
    probe: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The manifest as JSON writes it."""
        data = dict(self.__dict__)
        return data | {
            "architecture": self.architecture.to_dict(),
            "action_axes": list(self.action_axes),
            "action_scale": list(self.action_scale),
            "parents": list(self.parents),
        }

    @classmethod
    def read(cls, path: Path) -> PolicyManifest:
        """Read a manifest file.

        Raises:
            PolicyFileError: it is missing or not a manifest.
        """
        try:
            data = json.loads(path.read_text())
            return cls(
                **(
                    data
                    | {
                        "architecture": Architecture.from_dict(data["architecture"]),
                        "action_axes": tuple(int(axis) for axis in data["action_axes"]),
                        "action_scale": tuple(float(scale) for scale in data["action_scale"]),
                        "parents": tuple(data["parents"]),
                    }
                )
            )
        except FileNotFoundError as error:
            raise PolicyFileError(f"{path} is missing: {path.parent} is no policy version; name another") from error
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise PolicyFileError(f"{path} is no policy manifest ({error}); delete {path.parent}") from error


class Policy:
    """A version that was read and verified: its `manifest`, its `network` to train on, and its decisions.

    `alarm` is the one that was calibrated for it, None without.
    """

    def __init__(self, manifest: PolicyManifest, network: RobotPolicyNetwork, alarm: Alarm | None = None) -> None:
        self.manifest = manifest
        self.network = network
        self.alarm = alarm
        self.decision_time = 0.0  # [s], as measured when it was warmed up; 0: not yet
        self._acting = ready_to_act(network)

    @property
    def version(self) -> str:
        """Name of the version."""
        return self.manifest.version

    def start_episode(self) -> None:
        """Forget what was observed before."""
        self._acting.start_episode()

    def act_by(self, acting: ActingNetwork | SensingNetwork) -> None:
        """Decide by another runtime of the same weights from now on (`policy.runtimes`)."""
        self._acting = acting

    def predict(
        self, observation: np.ndarray, image: np.ndarray | None = None, seen: np.ndarray | None = None
    ) -> Prediction:
        """The decision for one observation (observation_size,) float32, and what is seen where the policy sees.

        `image` (height, width, channels) uint8 holds the cameras' pictures, `seen` (pictures,) which of them are there.
        """
        return self._acting.predict(observation, image, seen)


class PolicyRegistry:
    """Versions `000001/`, `000002/`, ... in one folder, and `CURRENT`, which names the active one.

    Everything is written beside its place, synced and renamed: a reader sees a whole version or none, at any moment and
    after any crash. Many processes may add and read; only one, the evaluator, activates.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def add(
        self,
        network: RobotPolicyNetwork,
        *,
        task: str,
        action_axes: tuple[int, ...],
        action_scale: tuple[float, ...],
        parents: tuple[str, ...] = (),
        metrics: dict[str, float] | None = None,
        data: dict[str, Any] | None = None,
        configuration: dict[str, Any] | None = None,
    ) -> PolicyManifest:
        """Write a new version; returns its manifest. `data` and `configuration` are its lineage, as JSON values."""
        self.folder.mkdir(parents=True, exist_ok=True)
        weights = weights_of(network)
        temporary = Path(tempfile.mkdtemp(prefix=".adding-", dir=self.folder))
        try:
            replace_file(temporary / WEIGHTS, weights)
            number = max((int(version) for version in self.versions()), default=0)
            while True:
                number += 1
                manifest = PolicyManifest(
                    version=f"{number:06d}",
                    task=task,
                    architecture=network.architecture,
                    action_axes=tuple(int(axis) for axis in action_axes),
                    action_scale=tuple(float(scale) for scale in action_scale),
                    observation_layout=LAYOUT,
                    parents=tuple(parents),
                    metrics={name: float(value) for name, value in (metrics or {}).items()},
                    sha256=hashlib.sha256(weights).hexdigest(),
                    code_version=__version__,
                    code_sha256=code_digest(),
                    data=dict(data or {}),
                    configuration=dict(configuration or {}),
                    probe=probe(network),
                )
                replace_file(temporary / MANIFEST, json.dumps(manifest.to_dict(), indent=1))
                try:
                    temporary.rename(self.folder / manifest.version)
                except OSError:
                    if not (self.folder / manifest.version).exists():
                        raise
                    continue  # another process took this number in between
                sync_folder(self.folder)
                return manifest
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def versions(self) -> tuple[str, ...]:
        """Every version in the folder, oldest first."""
        if not self.folder.is_dir():
            return ()
        names = (entry.name for entry in self.folder.iterdir() if entry.is_dir())
        return tuple(sorted(name for name in names if len(name) == 6 and name.isdigit()))

    def manifest(self, version: str) -> PolicyManifest:
        """Manifest of a version.

        Raises:
            PolicyFileError: there is no such version, or its manifest cannot be read.
        """
        if version not in self.versions():
            known = self.versions()
            listed = f"{known[0]} to {known[-1]}" if known else "no version at all"
            raise PolicyFileError(f"there is no policy '{version}' in {self.folder}; there is {listed}")
        manifest = PolicyManifest.read(self.folder / version / MANIFEST)
        if manifest.version != version:
            raise PolicyFileError(
                f"{self.folder / version} holds the manifest of version '{manifest.version}': the folder was renamed; "
                "restore its name"
            )
        return manifest

    def load(self, version: str, *, with_alarm: bool = True) -> Policy:
        """A version, verified: checksum, architecture, finite weights and what it decides; with its alarm, if any.

        Raises:
            PolicyFileError: the version is missing, corrupted or foreign.
        """
        manifest = self.manifest(version)
        path = self.folder / version / WEIGHTS
        if manifest.observation_layout != LAYOUT:
            raise PolicyFileError(
                f"{path}: trained on observations of layout '{manifest.observation_layout}', this code makes "
                f"'{LAYOUT}'; train a new version"
            )
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise PolicyFileError(
                f"{path} is not there: the weights of {version} were collected, its lineage stays; name another version"
            ) from error
        except OSError as error:
            raise PolicyFileError(f"{path} cannot be read ({error.strerror}); name another version") from error
        digest = hashlib.sha256(data).hexdigest()
        if digest != manifest.sha256:
            raise PolicyFileError(
                f"{path} is corrupted: sha256 is {digest[:12]}..., the manifest says {manifest.sha256[:12]}...; "
                "name another version"
            )
        network = RobotPolicyNetwork(manifest.architecture)
        try:
            network.load_state_dict(safetensors.torch.load(data))
        except (RuntimeError, SafetensorError) as error:
            first_line = str(error).splitlines()[0]
            raise PolicyFileError(f"{path} does not fit the manifest's architecture ({first_line})") from error
        if not all(bool(torch.isfinite(value).all()) for value in network.state_dict().values()):
            raise PolicyFileError(f"{path} holds weights that are not finite; name another version")
        if manifest.probe and not (found := departure(network, manifest.probe)) <= TOLERANCE:
            raise PolicyFileError(
                f"{path}: the network decides otherwise here than where it was written, by {found:.2g}, at most "
                f"{TOLERANCE:g} is allowed; load it with the code that wrote it ({manifest.code_version}) or train anew"
            )
        alarm = read_alarm(self.folder / version, manifest.sha256) if with_alarm else None
        return Policy(manifest, network.eval().requires_grad_(False), alarm)

    def set_alarm(self, version: str, alarm: Alarm) -> None:
        """Keep an alarm beside a version; who loads the version from now on has it.

        Raises:
            PolicyFileError: there is no such version, or the alarm was calibrated for other weights.
        """
        if self.manifest(version).sha256 != alarm.weights_sha256:
            raise PolicyFileError(f"the alarm was calibrated for other weights than those of {version}")
        write_alarm(self.folder / version, alarm)

    def activation(self) -> Activation:
        """The active version with its generation and reason, as `CURRENT` says.

        Raises:
            PolicyFileError: `CURRENT` cannot be read.
        """
        return read_activation(self.folder)

    def current(self) -> tuple[str, int]:
        """Active version and generation; ("", 0) before the first activation."""
        activation = self.activation()
        return activation.version, activation.generation

    def activate(self, version: str, *, verdict: str = "initial", reason: str = "", speed: float = 1.0) -> Activation:
        """Make a version the active one, or change its speed; returns the new activation, its generation one higher.

        Raises:
            PolicyFileError: the version cannot be loaded; the active one stays.
        """
        self.load(version)
        before = self.activation()
        previous = before.previous if before.version == version else before.version
        activation = Activation(version, before.generation + 1, previous, verdict, reason, speed)
        # Before CURRENT: an entry that does not come true is superseded by the next of its generation.
        note_activation(self.folder, activation)
        replace_file(self.folder / CURRENT, json.dumps(activation.__dict__, indent=1))
        return activation


def weights_of(network: RobotPolicyNetwork) -> bytes:
    """Content of the weights file of a network; the same weights give the same bytes."""
    return safetensors.torch.save({name: value.contiguous() for name, value in network.state_dict().items()})
