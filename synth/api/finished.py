"""A finished run and its layers as objects."""

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth.api.html import code, pairs, table
from synth.api.units import Unit, Unknown
from synth.errors import nearest
from synth.folder import Finished, check_run
from synth.shown.tables import UNIT_COLUMNS, held_out_rows, source_rows

if TYPE_CHECKING:
    from torch import nn

    from synth.job import Job


class Layer(Mapping[str, Unit]):
    """The units of a layer by name, as `layer["edge_45"]`, or by channel, as `layer[3]`."""

    def __init__(self, name: str, run: Finished) -> None:
        self.name = name
        self._units = {row["name"]: Unit(row, run) for row in run.layers[name]}
        self._channels = {unit.channel: unit for unit in self._units.values()}

    def __getitem__(self, unit: str | int) -> Unit:
        """Raises Unknown, a KeyError, with the near names."""
        found = self._units.get(unit) if isinstance(unit, str) else self._channels.get(unit)
        if found is None:
            hint = nearest(str(unit), self._units)
            raise Unknown(f"layer {self.name!r} has no unit {unit!r}.{hint}")
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._units)

    def __len__(self) -> int:
        return len(self._units)

    def __repr__(self) -> str:
        return f"<layer {self.name}: {len(self)} units>"

    def _repr_html_(self) -> str:
        titles = [column.title for column in UNIT_COLUMNS]
        rows = [[str(c.cell(unit.row)) for c in UNIT_COLUMNS] for unit in self.values()]
        return table(titles, rows, caption=f"{self.name}: {len(self)} units")


class Source(str):
    """Python as it is written; a notebook shows its lines."""

    def _repr_html_(self) -> str:
        return code(self)


class Page:
    """The files of a report, of which the first is to be opened."""

    def __init__(self, files: list[Path], notes: list[str]) -> None:
        self.files, self.notes = tuple(files), tuple(notes)

    @property
    def path(self) -> Path:
        """report.html in the run's folder."""
        return self.files[0]

    def __repr__(self) -> str:
        return "\n".join([str(self.path), *self.notes])

    def _repr_html_(self) -> str:
        notes = {"notes": "; ".join(self.notes)} if self.notes else {}
        return pairs({"report": self.path.absolute().as_uri()} | notes)


class Run(Mapping[str, Layer]):
    """A finished run: its layers by name, the replacement network, and all files of its folder."""

    def __init__(self, finished: Finished, job: "Job | None" = None) -> None:
        self._finished = finished
        self._known = job
        self._layers = {name: Layer(name, finished) for name in finished.layers}

    @property
    def folder(self) -> Path:
        """Where it is; every command takes this folder."""
        return self._finished.folder

    @property
    def summary(self) -> dict[str, Any]:
        """The figures of summary.json."""
        return self._finished.summary

    @property
    def verdict(self) -> str:
        """drop-in, approximate or inconclusive, as held-out says."""
        return self.summary["verdict"]

    @property
    def source(self) -> Source:
        """decompiled.py: Python that needs nothing but torch."""
        return Source((self.folder / "decompiled.py").read_text(encoding="utf-8"))

    def unit(self, name: str) -> Unit:
        """The unit `edge_45`, `conv1_3` or `conv1[3]`, of whatever layer.

        Raises InputError with the near names.
        """
        found = self._finished.find(name)
        if isinstance(found, str):
            raise Unknown(f"{name!r} is a layer of {len(self[found])} units, expected a unit.")
        return Unit(found, self._finished)

    @cached_property
    def _job(self) -> "Job":
        from synth.origin import job_of

        return self._known or job_of(self.folder)

    def original(self) -> "nn.Module":
        """The network that was decompiled, as it was read: inputs (N, …) as it takes them.

        Raises InputError where the network or the probes are not what they were.
        """
        return self._job.network.module

    def replacement(self) -> "nn.Module":
        """The network computed by its programs: the same inputs and outputs as the original.

        Raises InputError where the network or the probes are not what they were.
        """
        from synth.chain import load_choices
        from synth.replacement import replacement_of

        return replacement_of(self._job, load_choices(self._job, self.folder))

    def export(self, onnx: str | os.PathLike[str]) -> float:
        """Write the replacement as an ONNX file, kept only if onnxruntime answers as it does.

        Gives the largest difference over max |output|, at most 1e-5. Raises InputError: onnxruntime
        is not installed, or an operation has no form in ONNX.
        """
        from synth.chain import load_choices
        from synth.replacement import export_replacement

        return export_replacement(self._job, load_choices(self._job, self.folder), Path(onnx))

    def report(self, *, probes: bool = True) -> Page:
        """Write report.html into the folder, as `synth report` does; with `probes`, with units and
        programs on held-out probes where the job can be opened again."""
        from synth.report.making import make_report

        return Page(*make_report(self.folder, probes=probes))

    def check(self) -> dict[str, str]:
        """Check every certificate in exact arithmetic: the rejected units, each with a reason."""
        return dict(check_run(self._finished)[1])

    def __getitem__(self, layer: str) -> Layer:
        """Raises Unknown, a KeyError, with the near names."""
        if layer not in self._layers:
            raise Unknown(f"{self.folder} has no layer {layer!r}.{nearest(layer, self._layers)}")
        return self._layers[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __repr__(self) -> str:
        share = self.summary["bits"] / self.summary["bits_original"]
        return f"<run {self.folder}: {self.verdict}, {len(self)} layers, {share:.2%} of the bits>"

    def _repr_html_(self) -> str:
        return pairs({**held_out_rows(self.summary), **source_rows(self.summary)})
