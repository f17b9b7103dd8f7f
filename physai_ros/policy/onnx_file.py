"""A policy as one ONNX file: written from a version, read by ONNX Runtime, which needs no torch."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from physai_ros.durable import replace_file
from physai_ros.policy.activation import PolicyFileError
from physai_ros.policy.deciding import INPUTS, OUTPUTS, Deciding, DecisionInputs, DecisionOutputs, sample_inputs
from physai_ros.policy.reduced_onnx import reduced
from physai_ros.policy.registry import Policy, PolicyManifest

FILES = {"full": "policy.onnx", "fp16": "policy.fp16.onnx", "int8": "policy.int8.onnx"}
"""Names beside a version's weights, by precision."""
OPSET = 18
_EXPORTS = ("onnx", "onnxscript", "onnxruntime")


def export_onnx(policy: Policy, path: Path, precision: str = "full") -> None:
    """Write a version to an ONNX file that computes one decision, in one of `PRECISIONS`.

    Inputs and outputs are those of `policy.deciding`; normalization and the mean over the ensemble are inside. What an
    edge computer must know besides (layout of the observation, action axes and scale, cameras) is in the file's
    metadata, as JSON under `physai`.

    Raises:
        RuntimeError: a library is missing; the message names it.
    """
    missing = [name for name in _EXPORTS if find_spec(name) is None]
    if missing:
        raise RuntimeError(f"to export a policy install {', '.join(missing)}: pip install 'physai_ros[edge]'")
    import onnx

    inputs = sample_inputs(policy.manifest.architecture, np.random.default_rng(0)).arrays()
    program = _quietly(
        lambda: torch.onnx.export(
            Deciding(policy.network).eval(),
            tuple(torch.from_numpy(array) for array in inputs),
            input_names=list(INPUTS[: len(inputs)]),
            output_names=list(OUTPUTS),
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
        )
    )
    model = _quietly(lambda: reduced(program.model_proto, precision))
    entry = model.metadata_props.add()
    entry.key = "physai"
    entry.value = json.dumps(edge_description(policy.manifest) | {"precision": precision})
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, model.SerializeToString())


def edge_description(manifest: PolicyManifest) -> dict[str, Any]:
    """What whoever runs the file must know: how to make the inputs, what the outputs move."""
    senses = manifest.architecture.senses
    return {
        "version": manifest.version,
        "task": manifest.task,
        "weights_sha256": manifest.sha256,
        "observation_layout": manifest.observation_layout,
        "observation_size": manifest.architecture.observation_size,
        "window": manifest.architecture.window,
        "cameras": [] if senses is None else list(senses.cameras),
        "action_axes": list(manifest.action_axes),
        "action_scale": list(manifest.action_scale),
        "chunk_steps": manifest.architecture.chunk_steps,
    }


class OnnxDecider:
    """Decides by ONNX Runtime, on so many threads; `description` is what the file says of itself."""

    name = "onnx"

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Read a file.

        Raises:
            PolicyFileError: it is missing or no policy of ours.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        try:
            data = path.read_bytes()
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            self.description = json.loads(self._session.get_modelmeta().custom_metadata_map["physai"])
        except Exception as error:  # the runtime has a kind of its own for each thing that can be wrong
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise PolicyFileError(f"{path} is no policy in ONNX ({text}); write it with physai export onnx") from error
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._names = [entry.name for entry in self._session.get_inputs()]

    def __call__(self, inputs: DecisionInputs) -> DecisionOutputs:
        """The decision."""
        arrays = dict(zip(INPUTS, inputs, strict=True))
        return DecisionOutputs(*self._session.run(list(OUTPUTS), {name: arrays[name] for name in self._names}))


def _quietly(action: Callable[[], Any]) -> Any:  # noqa: ANN401 what the action gives
    """What an exporter gives without what it tells of its own changes."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, _output_to(nowhere):
            warnings.simplefilter("ignore")
            return action()
    finally:
        logging.disable(level)


def _output_to(file: Any) -> Any:  # noqa: ANN401 a file, a context manager
    from contextlib import redirect_stdout

    return redirect_stdout(file)
