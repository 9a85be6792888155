"""The network that a configuration names: its factory, its weights, and whether probes fit it."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from synth.config import Config
from synth.errors import InputError, Problems, listing, nearest
from synth.files import missing_file
from synth.inputs import Probes
from synth.references import Reference, call_object, load_object, parse_reference


def load_module(config: Config) -> nn.Module:
    """The configured network in eval mode, with finite weights. Raises InputError."""
    module = load_factory(config.network.factory, config.folder)
    with Problems() as problems:
        if config.network.weights is not None:
            load_weights(module, config.folder / config.network.weights)
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
    state = _read_state(path)
    with Problems() as problems:
        own = module.state_dict()
        problems.add(*_name_problems(own, state, path))
        problems.add(*_shape_problems(own, state, path))
        problems.add(*non_finite(state, str(path)))
    module.load_state_dict(state, strict=False)  # what may be absent is tied to what is there


def _read_state(path: Path) -> dict[str, Tensor]:
    if problem := missing_file(path):
        raise InputError(f"weights {problem}")
    readers = {".safetensors": _read_safetensors, ".pt": _read_torch, ".pth": _read_torch}
    if path.suffix not in readers:
        raise InputError(f"weights {path}: expected a file {listing(readers)}.")
    return readers[path.suffix](path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"weights {path} is no readable safetensors file: {error}") from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    advice = "save it with torch.save(module.state_dict(), path), or as safetensors."
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in the reader's own ways
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"weights {path} is no plain state dict ({reason}): {advice}") from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        held = listing(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
        raise InputError(f"weights {path} holds {held}, expected names with tensors: {advice}")
    return dict(state)


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


def check_fit(module: nn.Module, probes: Probes) -> int:
    """Runs two probes of each set through the network; the number of outputs K of its (N, K).

    Raises InputError: it raises, its output has another form or is not finite, or a label is
    not below K.
    """
    sets = {"inputs": (probes.inputs, probes.labels)}
    if probes.test_inputs is not None:
        sets["test_inputs"] = (probes.test_inputs, probes.test_labels)
    with Problems() as problems:
        widths = [
            problems.attempt(_outputs, module, x, f"probes.{n}") for n, (x, _) in sets.items()
        ]
        for (name, (_, labels)), width in zip(sets.items(), widths, strict=True):
            if labels is not None and width is not None and int(labels.max()) >= width:
                largest = f"the largest label of probes.{name} is {int(labels.max())}"
                problems.add(f"{largest}, but the network has {width} outputs (0 to {width - 1}).")
    return widths[0] or 0


def _outputs(module: nn.Module, inputs: Tensor, place: str) -> int:
    shape = tuple(inputs.shape[1:])
    try:
        with torch.no_grad():
            output = module(inputs[:2])
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{place} of sample shape {shape}: the network raised {reason}") from error
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != len(inputs[:2]):
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        given = f"for {len(inputs[:2])} of {place}"
        raise InputError(f"the network gave {got} {given}, expected a tensor (N, K).")
    if not torch.isfinite(output).all():
        raise InputError(f"the network's output on {place} is not finite.")
    return output.shape[1]
