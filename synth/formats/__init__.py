"""Files that hold a whole network, one reader for each suffix; none of them runs what it reads."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from synth.errors import InputError, listing
from synth.files import missing_file


def read_model(path: Path) -> nn.Module:
    """The network in a .pt2 or .onnx file, in eval mode; each input is a tensor (N, ...).

    Nothing in the file is run as code. Raises InputError with everything that is not supported.
    """
    if problem := missing_file(path):
        raise InputError(f"network {problem}")
    if path.suffix not in READERS:
        raise InputError(f"network {path}: expected a file {listing(READERS)}.")
    return READERS[path.suffix](path).eval()


def _program(path: Path) -> nn.Module:
    from synth.formats.program import read_program

    return read_program(path)


def _onnx(path: Path) -> nn.Module:
    from synth.formats.onnx_model import read_onnx

    return read_onnx(path)


READERS: Mapping[str, Callable[[Path], nn.Module]] = {".pt2": _program, ".onnx": _onnx}
