"""The network that a configuration names: its factory or model file, and its weights."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from synth.config import Config
from synth.errors import InputError, Problems, nearest
from synth.formats import read_model
from synth.formats.state import read_state
from synth.references import Reference, call_object, load_object, parse_reference


def load_module(config: Config) -> nn.Module:
    """The configured network in eval mode, with finite weights. Raises InputError.

    A factory is Python that the user names, and it is run; nothing in a model file is.
    """
    network = config.network
    if network.factory is None:
        module = read_model(config.folder / (network.file or ""))
    else:
        module = load_factory(network.factory, config.folder)
    with Problems() as problems:
        if network.weights is not None:
            load_weights(module, config.folder / network.weights)
        problems.add(*non_finite(module.state_dict(), "the network"))
    return module


def load_factory(reference: str, folder: Path) -> nn.Module:
    """Calls the factory `FILE.py:FUNCTION` without arguments; the module it returns, in eval mode.

    A module-level nn.Module is taken as it is. Random initial weights are the same in every run.
    Raises InputError: no file, no such function, it raises, or it returns something else.
    """
    found = parse_reference(reference, folder)
    if found.path.suffix != ".py":
        raise InputError(f"factory {reference!r}: expected 'FILE.py:FUNCTION'.")
    return _checked(_called(found), found).eval()


def _called(reference: Reference) -> object:
    target = load_object(reference)
    if isinstance(target, nn.Module) or not callable(target):
        return target
    return call_object(reference, target)


def _checked(module: object, reference: Reference) -> nn.Module:
    if not isinstance(module, nn.Module):
        kind = type(module).__name__
        raise InputError(f"factory {reference} gave a {kind}, expected a torch.nn.Module.")
    return module


def load_weights(module: nn.Module, path: Path) -> None:
    """Loads a .safetensors file or a .pt/.pth state dict into `module`, every tensor or none.

    Raises one InputError with all missing and unexpected names, other shapes and tensors that
    are not finite. Only tensors are unpickled.
    """
    state = read_state(path)
    with Problems() as problems:
        own = module.state_dict()
        problems.add(*_name_problems(own, state, path))
        problems.add(*_shape_problems(own, state, path))
        problems.add(*non_finite(state, str(path)))
    module.load_state_dict(state, strict=False)  # what may be absent is tied to what is there


def _name_problems(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path
) -> Iterator[str]:
    present = {own[name].data_ptr() for name in own if name in state and not is_lazy(own[name])}
    for name in own:
        tied = not is_lazy(own[name]) and own[name].numel() and own[name].data_ptr() in present
        if name not in state and not tied:
            hint = nearest(name, state.keys() - own.keys())
            yield f"weights {path} lacks '{name}', which the network has.{hint}"
    for name in state.keys() - own.keys():
        hint = nearest(name, own.keys() - state.keys())
        yield f"weights {path} has '{name}', which the network lacks.{hint}"


def _shape_problems(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path
) -> Iterator[str]:
    for name in own:
        if name in state and not is_lazy(own[name]) and own[name].shape != state[name].shape:
            given, expected = tuple(state[name].shape), tuple(own[name].shape)
            yield f"weights {path}: '{name}' has shape {given}, the network expects {expected}."


def non_finite(state: Mapping[str, Tensor], place: str) -> Iterable[str]:
    """A problem for each tensor that holds NaN or infinity: how many, and the first index."""
    for name, tensor in state.items():
        bad = torch.zeros(0) if is_lazy(tensor) else (~torch.isfinite(tensor)).nonzero()
        if len(bad):
            where = f"the first at {tuple(bad[0].tolist())}"
            yield f"{place}: '{name}' has {len(bad)} NaN or infinite values, {where}."
