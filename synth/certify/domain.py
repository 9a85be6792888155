"""The inputs that `synth prove` speaks of, as --domain names them."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth.errors import InputError, Problems

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from synth.batches import Inputs
    from synth.job import Job

ENVELOPE, SOUND = "envelope", "sound"
"""What units read on the probes of fit and select; or all that inputs in their least box make."""


def box_of(job: "Job", name: str) -> "tuple[torch.Tensor, torch.Tensor]":
    """(lower, upper), float64 of a sample's shape, of the network's only input. Raises InputError.

    That of the probes of fit and select for `SOUND`, else that of a file.
    """
    if len(job.network.input_shapes) != 1:
        raise InputError(f"--domain {name} is for networks of one input: use --radius here.")
    if name == SOUND:
        (ends,) = hull(job)
        return ends
    return _read_box(Path(name), job.network.input_shapes[0])


def hull(job: "Job") -> "list[tuple[torch.Tensor, torch.Tensor]]":
    """(lower, upper) of each input on all probes of fit and select."""
    import torch

    batches = [b for part in (job.parts.fit, job.parts.select) for b in part.inputs.batches()]
    return [
        (
            torch.stack([v.amin(0) for v in values]).amin(0).double().cpu(),
            torch.stack([v.amax(0) for v in values]).amax(0).double().cpu(),
        )
        for values in zip(*batches, strict=True)
    ]


def outside(job: "Job", lower: "Tensor", upper: "Tensor") -> dict[str, Any]:
    """The shares of probes that lie outside a box: of fit, and of held-out."""
    parts = {"fit": job.parts.fit.inputs, "held_out": job.parts.held_out.inputs}
    return {
        name: sum(int(bad.sum()) for bad in _outside(inputs, lower, upper)) / len(inputs)
        for name, inputs in parts.items()
    }


def _outside(inputs: "Inputs", lower: "Tensor", upper: "Tensor") -> "Iterator[Tensor]":
    for (values,) in inputs.batches():
        wide = values.double().cpu()
        yield ((wide < lower) | (wide > upper)).flatten(1).any(1)


def _read_box(path: Path, shape: tuple[int, ...]) -> "tuple[torch.Tensor, torch.Tensor]":
    import numpy as np
    import torch

    advice = f"expected {ENVELOPE}, {SOUND} or an .npz with arrays lower and upper of {shape}"
    if not zipfile.is_zipfile(path):
        told = "that is no .npz" if path.exists() else "there is no such file"
        raise InputError(f"--domain {path}: {told}: {advice}.")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            lower, upper = (np.asarray(arrays[k], dtype=np.float64) for k in ("lower", "upper"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"--domain {path}: {advice}: {error}") from error
    with Problems() as problems:
        for end, values in (("lower", lower), ("upper", upper)):
            if values.shape != shape:
                problems.add(f"--domain {path}: {end} has shape {values.shape}, expected {shape}.")
            elif not np.isfinite(values).all():
                problems.add(f"--domain {path}: {end} has numbers that are not finite.")
        if not problems and (lower > upper).any():
            problems.add(f"--domain {path}: lower is above upper somewhere; swap them?")
    return torch.from_numpy(lower), torch.from_numpy(upper)
