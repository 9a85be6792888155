"""What `synth prove` says of units: their bounds over a domain, and what is seen of them."""

from collections.abc import Iterator, Sequence, Set
from typing import TYPE_CHECKING, Any

from synth.certify.domain import ENVELOPE, box_of, hull
from synth.errors import InputError, Problems
from synth.folder import Finished

if TYPE_CHECKING:
    import torch

    from oracles.claims import Box
    from synth.assembly import LayerChoice
    from synth.certify.worst import Runs
    from synth.job import Job

DRAWN = 512  # inputs of a box at which both networks are run, and as many of its probes
Row = dict[str, Any]
Unit = tuple[str, int]


def wanted_units(run: Finished, names: str | None) -> Set[Unit]:
    """(layer, channel) of the units that `names`, layers and units by commas, call; all by default.

    Raises InputError.
    """
    if names is None:
        return {(row["layer"], row["channel"]) for row in run.rows}
    found: list[Row] = []
    with Problems() as problems:
        for name in filter(None, map(str.strip, names.split(","))):
            one = problems.attempt(run.find, name)
            found += run.layers[one] if isinstance(one, str) else [one] if one else []
        if any("bank" in row for row in found):
            problems.add(f"--units {names}: directions are no units of the network.")
    if not found:
        raise InputError(f"--units {names!r}: expected names of layers or units.")
    return {(row["layer"], row["channel"]) for row in found}


def units_proved(
    run: Finished,
    job: "Job",
    choices: "Sequence[LayerChoice]",
    runs: "Runs",
    *,
    domain: str,
    wanted: Set[Unit],
    until: float,
) -> Row:
    """A summary, and a row for each unit that is wanted. Raises NoTransformer, InputError."""
    import time

    from synth.certify.unit_rows import bound_units, seen_units, unit_rows

    ends = hull(job) if domain == ENVELOPE else [box_of(job, domain)]
    envelopes = _envelopes(run) if domain == ENVELOPE else {}
    middle = time.monotonic() + max(until - time.monotonic(), 0.0) / 2
    steps = bound_units(job.network, choices, job.grammar, ends, envelopes, until=middle)
    seen = seen_units(runs, _inputs(job, domain, ends))
    rows = unit_rows(steps.values(), seen, lambda *unit: unit in wanted, until=until)
    names = {(row["layer"], row["channel"]): row["name"] for row in run.rows}
    rows = [{"unit": names[row["layer"], row["channel"]], **row} for row in rows]
    return {"domain": domain, "semantics": "real", "summary": _summary(rows), "rows": rows}


def _envelopes(run: Finished) -> "dict[str, Box]":
    """The envelopes of the layers that the run has proved something of."""
    from safetensors.numpy import load_file

    from oracles.certificate import UNITS_FILE
    from oracles.claims import Box

    numbers = load_file(run.folder / UNITS_FILE)
    layers = [name.removesuffix(".lower") for name in numbers if name.endswith(".lower")]
    return {name: Box(numbers[f"{name}.lower"], numbers[f"{name}.upper"]) for name in layers}


def _inputs(
    job: "Job", domain: str, ends: "Sequence[tuple[torch.Tensor, torch.Tensor]]"
) -> "Iterator[Sequence[torch.Tensor]]":
    """Inputs of the domain: probes of fit that lie in it and, of a box, some drawn at random."""
    import torch

    for batch in job.parts.fit.inputs.cut(64)[: DRAWN // 64]:
        values = batch.batch()
        inside = torch.ones(len(values[0]), dtype=torch.bool)
        for given, (low, high) in zip(values, ends, strict=True):
            wide = given.double().cpu()
            inside &= ((wide >= low) & (wide <= high)).flatten(1).all(1)
        if inside.any():
            yield [given[inside.to(given.device)] for given in values]
    if domain == ENVELOPE:
        return
    generator = torch.Generator().manual_seed(0)
    for _ in range(DRAWN // 64):
        drawn = [torch.rand(64, *low.shape, generator=generator).double() for low, _ in ends]
        drawn = [torch.cat([values[:32], values[32:].round()]) for values in drawn]
        yield [low + v * (high - low) for v, (low, high) in zip(drawn, ends, strict=True)]


def _summary(rows: Sequence[Row]) -> Row:
    """How many units are bounded, and how far bounds overshoot what is found."""
    from synth.certify.proofs import searched
    from synth.certify.worst import overshoot

    ratios = [overshoot(row["composed"], row["seen"]) for row in rows]
    ordered = sorted(ratio for ratio in ratios if ratio is not None)
    return {
        "units": len(rows),
        "bounded": sum(row["bound"] is not None for row in rows),
        **searched(rows),
        "composed_over_seen_median": ordered[len(ordered) // 2] if ordered else None,
    }
