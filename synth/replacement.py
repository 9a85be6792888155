"""The replacement network of a finished run."""

import os
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from synth.assembly import LayerChoice, assemble
from synth.errors import InputError
from synth.job import Job
from synth.onnx_out import write_onnx

CHECKED = 64  # held-out probes that a file is checked on


def replacement_of(job: Job, choices: Sequence[LayerChoice]) -> nn.Module:
    """The network computed by its programs; layers without any are as they were."""
    return assemble(job.network, [c for c in choices if not c.is_opaque], job.grammar)


def export_replacement(job: Job, choices: Sequence[LayerChoice], path: Path) -> float:
    """Writes it as ONNX; the largest difference over max |output|. Raises InputError."""
    _check_place(path)
    batch = job.parts.held_out.inputs.batch(0, CHECKED)
    names = {"inputs": job.network.input_names, "outputs": job.network.output_names}
    return write_onnx(replacement_of(job, choices), batch, path.absolute(), **names)


def _check_place(path: Path) -> None:
    """Raises InputError where no file can be written."""
    folder = path.absolute().parent
    if path.is_dir():
        raise InputError(f"--onnx {path}: that is a folder; name a file in it, as net.onnx.")
    if not folder.is_dir():
        raise InputError(f"--onnx {path}: its folder does not exist; make it first.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"--onnx {path}: its folder cannot be written; choose another.")
