"""Ways to compute one and the same network, and which of them is the quickest on this machine."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import platform
import time
import warnings
from dataclasses import asdict, dataclass, field
from functools import lru_cache
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
from physai_ros.policy.onnx_file import FILES, OnnxDecider
from physai_ros.policy.parity import Differences, differences, objection
from physai_ros.policy.registry import Policy

RUNTIMES = ("numpy", "eager", "torchscript", "onnx")
"""Ways to compute: plain matrices (perceptrons alone), torch as it is, traced, and ONNX Runtime."""
REDUCED = ("onnx_fp16", "onnx_int8")
"""ONNX Runtime on files of reduced precision (`policy.reduced_onnx`), which differ within a bound (`policy.parity`)."""
PERMITTED = {"full": RUNTIMES, "reduced": RUNTIMES + REDUCED}
"""What may be chosen from, by what the user permits."""
WORTH = 0.9
"""Share of the time of the quickest full one below which one of reduced precision is worth its difference."""
_ROUNDS = 60

Acting = ActingNetwork | SensingNetwork


@dataclass(frozen=True)
class RuntimeTrial:
    """Median time of a decision [ms] and largest difference to `eager` by runtime, and why others are out.

    The difference is in anything that a decision gives; under reduced precision in action, value and uncertainty.
    `chosen` is the quickest of those that agree; `cached` says whether it was measured before.
    """

    chosen: str
    median_ms: dict[str, float]
    difference: dict[str, float]
    refused: dict[str, str] = field(default_factory=dict)
    cached: bool = False


class TracedDecider:
    """Traced by TorchScript, once for an architecture and every input: the network has no branch on what it is shown.

    Tracing and freezing keep all Python threads waiting, for tens of milliseconds where the network sees; so a version
    that is loaded while the arm moves gets a copy of the trace with its own weights.
    """

    name = "torchscript"

    def __init__(self, network: RobotPolicyNetwork) -> None:
        self._module = copy.deepcopy(_traced(network.architecture))
        self._module.load_state_dict(Deciding(network).state_dict())

    def __call__(self, inputs: DecisionInputs) -> DecisionOutputs:
        """The decision."""
        with torch.inference_mode():
            output = self._module(*(torch.from_numpy(np.ascontiguousarray(array)) for array in inputs.arrays()))
        return DecisionOutputs(*(tensor.numpy() for tensor in output))


@lru_cache(maxsize=4)
def _traced(architecture: Architecture) -> torch.jit.ScriptModule:
    """The trace of an architecture, with the weights of nobody."""
    sample = sample_inputs(architecture, np.random.default_rng(0)).arrays()
    network = RobotPolicyNetwork(architecture).requires_grad_(False)
    with warnings.catch_warnings(), torch.inference_mode(mode=False), torch.no_grad():
        # Constants of the trace, and that TorchScript is on its way out: the parity check is what counts.
        warnings.simplefilter("ignore")
        return torch.jit.trace(Deciding(network).eval(), tuple(map(torch.from_numpy, sample)), check_trace=False).eval()


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
    if runtime not in ("onnx", *REDUCED):
        raise ValueError(f"there is no runtime '{runtime}'; there are {', '.join(RUNTIMES + REDUCED)}")
    if find_spec("onnxruntime") is None:
        raise PolicyFileError("onnxruntime is not installed: pip install 'physai_ros[edge]'")
    precision = runtime.removeprefix("onnx").removeprefix("_") or "full"
    if folder is None or not (folder / FILES[precision]).exists():
        raise PolicyFileError(f"the version was not exported: physai export onnx --precision {precision}")
    file = folder / FILES[precision]
    decider = OnnxDecider(file, torch.get_num_threads())
    if decider.description.get("weights_sha256") != policy.manifest.sha256:
        raise PolicyFileError(f"{file} was exported from other weights; export the version again")
    return SensingNetwork(network, decider)


def acting_by(
    policy: Policy, runtime: str, folder: Path | None = None, *, precision: str = "full"
) -> tuple[Acting, str]:
    """What decides as a policy does, and its name: by a runtime, or by the quickest of those permitted (`auto`).

    Raises:
        PolicyFileError: that runtime cannot compute this policy, or departs from it.
    """
    if runtime == "auto":
        acting, trial = choose(policy, folder, precision=precision)
        return acting, trial.chosen
    acting = make(policy, runtime, folder)
    problem = objection(policy, differences(policy, acting), reduced=runtime in REDUCED)
    if problem:
        raise PolicyFileError(f"{runtime} {problem}; set runtime to auto")
    return acting, runtime


def choose(
    policy: Policy, folder: Path | None = None, *, cache: Path | None = None, precision: str = "full"
) -> tuple[Acting, RuntimeTrial]:
    """The quickest of what decides as a policy does, and what the trial found.

    Which is the quickest is measured once for an architecture, a machine and the libraries' versions, and kept in
    `cache`; that it agrees with `eager` is looked at every time. Where reduced precision is permitted, it is chosen
    only where it is a tenth quicker than the others (`WORTH`).
    """
    file = cache or cache_file()
    key = _key(policy.manifest.architecture, precision, folder)
    known = _read(file).get(key)
    if known is not None:
        try:
            acting = make(policy, known["chosen"], folder)
            found = differences(policy, acting)
            if not objection(policy, found, reduced=known["chosen"] in REDUCED):
                departure = {known["chosen"]: _told(known["chosen"], found)}
                return acting, RuntimeTrial(known["chosen"], known["median_ms"], departure, known["refused"], True)
        except PolicyFileError:
            pass  # what was the quickest is not there any more
    candidates: dict[str, Acting] = {}
    departures: dict[str, float] = {}
    refused: dict[str, str] = {}
    for runtime in PERMITTED[precision]:
        try:
            acting = make(policy, runtime, folder)
        except PolicyFileError as error:
            refused[runtime] = str(error)
            continue
        found = differences(policy, acting)
        departures[runtime] = _told(runtime, found)
        problem = objection(policy, found, reduced=runtime in REDUCED)
        if problem:
            refused[runtime] = problem
        else:
            candidates[runtime] = acting
    times = _medians(candidates, policy.manifest.architecture)
    trial = RuntimeTrial(quickest(times), times, departures, refused)
    entry = {name: value for name, value in asdict(trial).items() if name != "cached"}
    _write(file, {**_read(file), key: entry})
    return candidates[trial.chosen], trial


def quickest(times: dict[str, float]) -> str:
    """Name of the quickest, by median times of a decision; one of reduced precision where it is worth it."""
    full = {name: time for name, time in times.items() if name not in REDUCED}
    best = min(full, key=full.__getitem__)
    worth = {name: time for name, time in times.items() if name in REDUCED and time < WORTH * full[best]}
    return min(worth, key=worth.__getitem__, default=best)


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


def _told(runtime: str, found: Differences) -> float:
    return found.decided if runtime in REDUCED else found.largest


def _key(architecture: Architecture, precision: str, folder: Path | None) -> str:
    libraries = []
    for name in ("torch", "numpy", "onnxruntime"):
        try:
            libraries.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            libraries.append(f"{name} none")
    machine = [platform.machine(), platform.processor(), platform.node(), str(torch.get_num_threads())]
    exported = [] if folder is None else sorted(name for name in FILES.values() if (folder / name).exists())
    text = json.dumps([architecture.to_dict(), libraries, machine, precision, exported], sort_keys=True)
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
