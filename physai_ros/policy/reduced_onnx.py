"""An exported policy with fewer bits a weight: half the size in floating point, a quarter in whole numbers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

PRECISIONS = ("full", "fp16", "int8")
"""Numbers of 32 bits; of 16 bits inside, for computers that are quicker with them; products of 8-bit whole numbers."""
_ONLY_WIDE = ["IsInf", "IsNaN"]  # operations that know no numbers of 16 bits
_PRODUCTS = ["MatMul", "Gemm"]


def reduced(model: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    """The model in another precision; inputs and outputs keep theirs.

    `int8` quantizes weights once and activations as they come (dynamic quantization), in matrix products alone:
    convolutions of a policy's size become slower by it. Both are unsigned, for with signed weights the products of
    processors without VNNI saturate.
    """
    if precision == "full":
        return model
    if precision == "fp16":
        from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel

        wide = [*DEFAULT_OP_BLOCK_LIST, *_ONLY_WIDE]
        converted = OnnxModel(convert_float_to_float16(model, keep_io_types=True, op_block_list=wide))
        converted.topological_sort()  # casts of the inputs are appended
        return converted.model
    if precision != "int8":
        raise ValueError(f"there is no precision '{precision}'; there are {', '.join(PRECISIONS)}")
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(prefix="physai-") as folder:
        path = Path(folder) / "policy.onnx"
        quantize_dynamic(model, path, op_types_to_quantize=_PRODUCTS, weight_type=QuantType.QUInt8)
        return onnx.load(path)
