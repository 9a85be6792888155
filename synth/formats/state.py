"""Weights alone: safetensors, and the state dicts of torch.save, of which only tensors are read."""

from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from synth.errors import InputError, listing
from synth.files import missing_file
from synth.formats.archive import load_pickle


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors, .pt or .pth file by name.

    Raises InputError: no file, damaged, or it holds anything but names with tensors; code in a
    pickle is never run.
    """
    if problem := missing_file(path):
        raise InputError(f"weights {problem}")
    if path.suffix not in _READERS:
        raise InputError(f"weights {path}: expected a file {listing(_READERS)}.")
    return _READERS[path.suffix](path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"weights {path} is no readable safetensors file: {error}") from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    advice = "save it with torch.save(module.state_dict(), path), or as safetensors."
    try:
        state = load_pickle(path, f"weights {path}", "state dict")
    except InputError as error:
        told = (f"{problem} Instead, {advice}" for problem in error.problems)
        raise InputError(*told) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        held = listing(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
        raise InputError(f"weights {path} holds {held}, expected names with tensors: {advice}")
    return {str(name): tensor for name, tensor in state.items()}


_READERS: Mapping[str, Callable[[Path], dict[str, Tensor]]] = {
    ".safetensors": _read_safetensors,
    ".pt": _read_torch,
    ".pth": _read_torch,
}
