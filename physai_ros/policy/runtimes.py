"""Ways to compute one and the same network, and which of them is the quickest on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
import warnings
from dataclasses import asdict, dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from physai_ros.durable import replace_file
from physai_ros.policy.acting import ActingNetwork, EagerDecider, SensingNetwork
from physai_ros.policy.activation import PolicyFileError
from physai_ros.policy.deciding import Deciding, DecisionInputs, DecisionOutputs, sample_inputs
from physai_ros.policy.network import Architecture, RobotPolicyNetwork
from physai_ros.policy.onnx_file import FILE, OnnxDecider
from physai_ros.policy.registry import Policy

RUNTIMES = ("numpy", "eager", "torchscript", "onnx")
"""Ways to compute: plain matrices (perceptrons alone), torch as it is, traced and frozen, and ONNX Runtime."""
PARITY = 1e-5
"""Largest difference to `eager` in anything that a decision gives; a runtime that departs further is not used."""
_PROBES, _ROUNDS = 16, 60

Acting = ActingNetwork | SensingNetwork


@dataclass(frozen=True)
class RuntimeTrial:
    """Median time of a decision [ms] and largest difference to `eager` by runtime, and why others are out.

    `chosen` is the quickest of those that agree; `cached` says whether it was measured before.
    """

    chosen: str
    median_ms: dict[str, float]
    difference: dict[str, float]
    refused: dict[str, str] = field(default_factory=dict)
    cached: bool = False


class TracedDecider:
    """Traced and frozen by TorchScript, once, for every input: the network has no branch on what it is shown."""

    name = "torchscript"

    def __init__(self, network: RobotPolicyNetwork) -> None:
        sample = sample_inputs(network.architecture, np.random.default_rng(0)).arrays()
        with warnings.catch_warnings(), torch.inference_mode(mode=False), torch.no_grad():
            # Constants of the trace, and that TorchScript is on its way out: the parity check is what counts.
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(Deciding(network).eval(), tuple(map(torch.from_numpy, sample)), check_trace=False)
            self._module = torch.jit.freeze(traced.eval())

    def __call__(self, inputs: DecisionInputs) -> DecisionOutputs:
        """The decision."""
        with torch.inference_mode():
            output = self._module(*(torch.from_numpy(np.ascontiguousarray(array)) for array in inputs.arrays()))
        return DecisionOutputs(*(tensor.numpy() for tensor in output))


def make(policy: Policy, runtime: str, folder: Path | None = None) -> Acting:
    """What decides as a policy does, by a runtime; `folder` is the version's, where an exported file may lie.

    Raises:
        PolicyFileError: the runtime cannot compute this policy here; the message says why.
        ValueError: there is no such runtime.
    """
    network = policy.network
    if runtime == "eager":
        return SensingNetwork(network, EagerDecider(network))
    if runtime == "torchscript":
        try:
            return SensingNetwork(network, TracedDecider(network))
        except RuntimeError as error:
            raise PolicyFileError(f"it cannot be traced: {str(error).splitlines()[0]}") from error
    if runtime == "numpy":
        if not network.architecture.is_plain:
            raise PolicyFileError("plain matrices compute perceptrons alone")
        return ActingNetwork(network)
    if runtime != "onnx":
        raise ValueError(f"there is no runtime '{runtime}'; there are {', '.join(RUNTIMES)}")
    if find_spec("onnxruntime") is None:
        raise PolicyFileError("onnxruntime is not installed: pip install 'physai_ros[edge]'")
    if folder is None or not (folder / FILE).exists():
        raise PolicyFileError("the version was not exported: physai export onnx")
    decider = OnnxDecider(folder / FILE, torch.get_num_threads())
    if decider.description.get("weights_sha256") != policy.manifest.sha256:
        raise PolicyFileError(f"{folder / FILE} was exported from other weights; export the version again")
    return SensingNetwork(network, decider)


def acting_by(policy: Policy, runtime: str, folder: Path | None = None) -> tuple[Acting, str]:
    """What decides as a policy does, and its name: by a runtime, or by the quickest (`auto`).

    Raises:
        PolicyFileError: that runtime cannot compute this policy, or departs from it.
    """
    if runtime == "auto":
        acting, trial = choose(policy, folder)
        return acting, trial.chosen
    acting = make(policy, runtime, folder)
    if (departure := difference(policy, acting)) > PARITY:
        raise PolicyFileError(
            f"{runtime} departs by {departure:.2g} from the policy, at most {PARITY:g} is allowed; set runtime to auto"
        )
    return acting, runtime


def difference(policy: Policy, acting: Acting, seed: int = 0) -> float:
    """Largest difference between what a runtime and `eager` decide on sample inputs, in any of their outputs."""
    reference = SensingNetwork(policy.network, EagerDecider(policy.network))
    generator, largest = np.random.default_rng(seed), 0.0
    for _ in range(_PROBES):
        inputs = sample_inputs(policy.manifest.architecture, generator)
        for each in (acting, reference):
            each.start_episode()
        for observation in inputs.observations[np.isfinite(inputs.observations).all(axis=1)]:
            expected = reference.predict(observation, inputs.image, inputs.seen)
            given = acting.predict(observation, inputs.image, inputs.seen)
            pairs = [(given.actions, expected.actions), (given.value, expected.value)]
            pairs += [(given.uncertainty, expected.uncertainty), (given.features, expected.features)]
            largest = max(largest, *(float(np.abs(np.subtract(*pair)).max()) for pair in pairs))
    acting.start_episode()
    return largest if np.isfinite(largest) else float("inf")


def choose(policy: Policy, folder: Path | None = None, *, cache: Path | None = None) -> tuple[Acting, RuntimeTrial]:
    """The quickest of what decides as a policy does, and what the trial found.

    Which is the quickest is measured once for an architecture, a machine and the libraries' versions, and kept in
    `cache`; that it agrees with `eager` is looked at every time.
    """
    file = cache or cache_file()
    key = _key(policy.manifest.architecture, exported=folder is not None and (folder / FILE).exists())
    known = _read(file).get(key)
    if known is not None:
        try:
            acting = make(policy, known["chosen"], folder)
            found = difference(policy, acting)
            if found <= PARITY:
                departure = {known["chosen"]: found}
                return acting, RuntimeTrial(known["chosen"], known["median_ms"], departure, known["refused"], True)
        except PolicyFileError:
            pass  # what was the quickest is not there any more
    candidates: dict[str, Acting] = {}
    departures: dict[str, float] = {}
    refused: dict[str, str] = {}
    for runtime in RUNTIMES:
        try:
            acting = make(policy, runtime, folder)
        except PolicyFileError as error:
            refused[runtime] = str(error)
            continue
        departures[runtime] = difference(policy, acting)
        if departures[runtime] <= PARITY:
            candidates[runtime] = acting
        else:
            refused[runtime] = f"departs by {departures[runtime]:.2g} from eager; at most {PARITY:g} is allowed"
    times = _medians(candidates, policy.manifest.architecture)
    trial = RuntimeTrial(min(times, key=times.__getitem__), times, departures, refused)
    entry = {name: value for name, value in asdict(trial).items() if name != "cached"}
    _write(file, {**_read(file), key: entry})
    return candidates[trial.chosen], trial


def cache_file() -> Path:
    """Where trials are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "physai_ros" / "runtimes.json"


def _medians(candidates: dict[str, Acting], architecture: Architecture) -> dict[str, float]:
    """Median time of a decision [ms] by runtime, measured in turns, so that a busy moment hits all of them."""
    generator = np.random.default_rng(1)
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(_ROUNDS):
        inputs = sample_inputs(architecture, generator)
        observation = np.nan_to_num(inputs.observations[-1])
        seen = None if inputs.seen is None else np.ones_like(inputs.seen)
        for name, acting in candidates.items():
            begin = time.perf_counter()
            acting.predict(observation, inputs.image, seen)
            if turn >= 10:  # a traced network makes itself quick in its first calls
                times[name].append(time.perf_counter() - begin)
    for acting in candidates.values():
        acting.start_episode()
    return {name: 1e3 * float(np.median(values)) for name, values in times.items()}


def _key(architecture: Architecture, *, exported: bool) -> str:
    libraries = []
    for name in ("torch", "numpy", "onnxruntime"):
        try:
            libraries.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            libraries.append(f"{name} none")
    machine = [platform.machine(), platform.processor(), platform.node(), str(torch.get_num_threads()), str(exported)]
    text = json.dumps([architecture.to_dict(), libraries, machine], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(file: Path) -> dict[str, dict]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(file: Path, content: dict[str, dict]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, json.dumps(content, indent=1))
    except OSError:
        pass  # it is measured again next time
