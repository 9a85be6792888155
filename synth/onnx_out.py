"""A network as an ONNX file, which is kept only if onnxruntime answers as torch does."""

import importlib
import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from synth.batches import Batch
from synth.errors import InputError

OPSET = 17
TOLERANCE = 1e-5  # of the largest |output|
EXAMPLES = 2  # probes that the network is traced with; it is checked on another number of them


def write_onnx(
    module: nn.Module, batch: Batch, path: Path, *, inputs: Sequence[str], outputs: Sequence[str]
) -> float:
    """Writes a module as ONNX with a free batch size; its largest difference over max |output|.

    `batch` holds at least three probes (N, …) for each of the `inputs`, on which onnxruntime and
    torch are compared. Raises InputError, and leaves no file: onnxruntime is not installed, an
    operation has no form in ONNX, or the two differ by more than TOLERANCE.
    """
    runtime = _runtime()
    module = module.cpu().eval()
    batch = tuple(tensor.cpu() for tensor in batch)
    with tempfile.TemporaryDirectory(prefix=".onnx-", dir=path.parent) as beside:
        made = Path(beside) / path.name
        _trace(module, batch, made, inputs, outputs)
        share = _difference(runtime, module, batch, made, inputs)
        if not share <= TOLERANCE:  # NaN too
            far = f"onnxruntime differs from torch by {share:.2g} of the largest output"
            raise InputError(f"{path} is not kept: {far}, expected at most {TOLERANCE:g}.")
        os.replace(made, path)
    return share


def _runtime() -> Any:
    """onnxruntime. Raises InputError: it is not installed."""
    try:
        return importlib.import_module("onnxruntime")
    except ImportError:
        advice = "pip install onnxruntime"
        reason = "no ONNX file is kept unchecked, and onnxruntime is not installed"
        raise InputError(f"{reason}: {advice}.") from None


def _trace(
    module: nn.Module, batch: Batch, path: Path, inputs: Sequence[str], outputs: Sequence[str]
) -> None:
    """By torch's exporter of traces: the other one needs onnxscript, and writes no more."""
    free = {name: {0: "batch"} for name in (*inputs, *outputs)}
    example = tuple(tensor[:EXAMPLES] for tensor in batch)
    names = {"input_names": list(inputs), "output_names": list(outputs), "dynamic_axes": free}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns that it is the older one
            torch.onnx.export(module, example, path, dynamo=False, opset_version=OPSET, **names)
    except Exception as error:  # torch raises many types
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        raise InputError(
            f"{path.name} is not written: torch cannot say it in ONNX ({reason})."
        ) from error


def _difference(
    runtime: Any, module: nn.Module, batch: Batch, path: Path, inputs: Sequence[str]
) -> float:
    """The largest difference of any output, as a share of that output's largest size."""
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = {name: tensor.numpy() for name, tensor in zip(inputs, batch, strict=True)}
    found = [torch.from_numpy(array) for array in session.run(None, given)]
    with torch.no_grad():
        wanted = [t for t in pytree.tree_leaves(module(*batch)) if isinstance(t, Tensor)]
    shares = [_share(a, b) for a, b in zip(found, wanted, strict=True)]
    return max(shares)


def _share(found: Tensor, wanted: Tensor) -> float:
    if found.shape != wanted.shape:
        return float("inf")
    scale = max(float(wanted.abs().max()), torch.finfo(torch.float32).tiny)
    return float((found - wanted).abs().max()) / scale
