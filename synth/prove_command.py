"""The command `synth prove`."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.errors import InputError, Problems
from synth.options import json_option

if TYPE_CHECKING:
    import torch

    from synth.certify.walk import Certifier
    from synth.job import Job

FILE = click.Path(path_type=Path)
HULL = "probes"
NORMS = {"inf": math.inf, "2": 2.0}
SEMANTICS = ("real", "float64", "float32")
Row = dict[str, Any]


@click.command()
@click.argument("folder", type=FILE, metavar="RUN")
@click.option("--radius", type=float, default=0.0, metavar="R", help="Of balls; 0 by default.")
@click.option("--norm", default="inf", metavar="NORM", help="Of balls: inf or 2.")
@click.option("--within", type=float, nargs=2, metavar="LOW HIGH", help="What any input lies in.")
@click.option("--samples", type=int, default=100, metavar="N", help="Held-out probes; 100.")
@click.option("--box", "domain", metavar="FILE", help="A box instead: .npz, or 'probes'.")
@click.option("--epsilon", type=float, metavar="E", help="Split the box until within E.")
@click.option("--time", "seconds", type=float, default=60.0, metavar="S", help="Seconds; 60.")
@click.option("--semantics", default="real", metavar="S", help="real, float64 or float32.")
@click.option("--device", default="cpu", help="cpu, or cuda.")
@click.option("--config", type=FILE, help="The configuration, if it is not where it was.")
@json_option
def prove(folder: Path, config: Path | None, as_json: bool, **asked: Any) -> None:
    """Prove how far the replacement can be from the network.

    In a ball around each of N held-out probes: a bound of how far any output differs, and whether
    both networks give the original's answer everywhere in it. Or over a box of inputs: one bound,
    by splitting where there are few inputs. A box is FILE.npz with the arrays lower and upper, or
    'probes' for the least box of those of fit and select. Writes proofs.json into RUN.
    """
    from synth.display import print_json
    from synth.files import write_atomic
    from synth.folder import PROOFS, open_run
    from synth.origin import job_of
    from synth.prove_display import print_proofs

    check_asked(asked)
    found = open_run(folder)
    document = _proved(job_of(found.folder, config), found.folder, asked)
    write_atomic(folder / PROOFS, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    print_json(document) if as_json else print_proofs(document)


def check_asked(asked: Row) -> None:
    """Raises InputError with all that is wrong with the options."""
    with Problems() as problems:
        for name, low in (("radius", 0.0), ("epsilon", 0.0), ("seconds", 0.0)):
            value = asked[name]
            if value is not None and not low <= value < math.inf:
                option = {"seconds": "time"}.get(name, name)
                problems.add(f"--{option} {value}: expected a finite number of at least {low:g}.")
        if asked["norm"] not in NORMS:
            problems.add(f"--norm {asked['norm']!r}: expected inf or 2.")
        if asked["semantics"] not in SEMANTICS:
            problems.add(f"--semantics {asked['semantics']!r}: expected {', '.join(SEMANTICS)}.")
        if asked["samples"] < 1:
            problems.add(f"--samples {asked['samples']}: expected at least 1.")
        if asked["domain"] and asked["radius"]:
            problems.add("--box and --radius: a box has no radius; leave one of them out.")
        if asked["epsilon"] is not None and not asked["domain"]:
            problems.add("--epsilon is for --box: balls are bounded as they are.")
        if (within := asked["within"]) and not within[0] <= within[1]:
            problems.add(f"--within {within[0]} {within[1]}: expected LOW <= HIGH.")
        if within and asked["norm"] != "inf":
            problems.add("--within: only balls of the norm inf can be cut.")


def _proved(job: "Job", folder: Path, asked: Row) -> Row:
    """What is written. Raises InputError: an operation that nothing encloses, a wrong box."""
    from oracles.difference import rounding
    from oracles.difference.curves import NoTransformer
    from synth.certify.walk import Certifier
    from synth.chain import load_choices
    from synth.devices import check_device
    from synth.threads import numeric_threads

    check_device(asked["device"])
    choices = load_choices(job, folder)
    semantics = rounding.SEMANTICS[asked["semantics"]]
    try:
        with numeric_threads(job.config.run.jobs):
            network = job.network.on(asked["device"])
            certifier = Certifier.of(network, choices, job.grammar, semantics)
            prove = _over_a_box if asked["domain"] else _around_probes
            return _head(certifier, asked) | prove(certifier, job, asked)
    except NoTransformer as error:
        raise InputError(str(error)) from error


def _head(certifier: "Certifier", asked: Row) -> Row:
    network = certifier.network
    judged = network.output_names[network.judged]
    logits = certifier.output is not network.output_nodes[network.judged]
    return {
        "compared": f"{judged}, before its softmax" if logits else judged,
        "semantics": asked["semantics"],
        "original": "the network as read, batch norms folded into float32 weights",
    }


def _around_probes(certifier: "Certifier", job: "Job", asked: Row) -> Row:
    import numpy as np

    from synth.certify.proofs import Ball, prove_balls, summarised
    from synth.outputs import reading_of, run_batches

    held_out = job.parts.held_out.inputs.on(asked["device"])
    count = min(asked["samples"], len(held_out))
    few = held_out.take(np.arange(count))
    outputs = run_batches(certifier.network.module, few, pick=certifier.network.judge)
    ball = Ball(asked["radius"], NORMS[asked["norm"]], asked["within"])
    rows = prove_balls(certifier, few, ball, reading_of(outputs), seconds=asked["seconds"])
    domain = {k: asked[k] for k in ("radius", "norm", "within")}
    said = {"domain": {"kind": "balls", "around": "held-out", **domain}}
    return {**said, "summary": summarised(rows, count), "rows": rows}


def _over_a_box(certifier: "Certifier", job: "Job", asked: Row) -> Row:
    from synth.certify.proofs import prove_box

    lower, upper = _box(job, asked["domain"])
    ends = (end.to(asked["device"]) for end in (lower, upper))
    found = prove_box(certifier, *ends, epsilon=asked["epsilon"], seconds=asked["seconds"])
    domain = {"kind": "box", "of": asked["domain"]}
    return {"domain": domain | {"lower": lower.tolist(), "upper": upper.tolist()}, "box": found}


def _box(job: "Job", name: str) -> "tuple[torch.Tensor, torch.Tensor]":
    """(lower, upper) of the network's only input. Raises InputError."""
    import torch

    if len(job.network.input_shapes) != 1:
        raise InputError("--box is for networks of one input: use --radius for this one.")
    if name == HULL:
        parts = (job.parts.fit.inputs, job.parts.select.inputs)
        batches = [b for part in parts for (b,) in part.batches()]
        return (
            torch.stack([b.amin(0) for b in batches]).amin(0).double().cpu(),
            torch.stack([b.amax(0) for b in batches]).amax(0).double().cpu(),
        )
    return _read_box(Path(name), job.network.input_shapes[0])


def _read_box(path: Path, shape: tuple[int, ...]) -> "tuple[torch.Tensor, torch.Tensor]":
    import numpy as np
    import torch

    try:
        with np.load(path, allow_pickle=False) as arrays:
            lower, upper = (np.asarray(arrays[k], dtype=np.float64) for k in ("lower", "upper"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        advice = f"expected an .npz with arrays lower and upper of {shape}, or {HULL!r}"
        raise InputError(f"--box {path}: {advice}: {error}") from error
    with Problems() as problems:
        for end, values in (("lower", lower), ("upper", upper)):
            if values.shape != shape:
                problems.add(f"--box {path}: {end} has shape {values.shape}, expected {shape}.")
            elif not np.isfinite(values).all():
                problems.add(f"--box {path}: {end} has numbers that are not finite.")
        if not problems and (lower > upper).any():
            problems.add(f"--box {path}: lower is above upper somewhere; swap them?")
    return torch.from_numpy(lower), torch.from_numpy(upper)
