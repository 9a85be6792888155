"""The command `synth prove`."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.certify.domain import ENVELOPE
from synth.commands.options import json_option
from synth.errors import InputError, Problems

if TYPE_CHECKING:
    from collections.abc import Set

    from synth.certify.report import Unit
    from synth.certify.walk import Certifier
    from synth.certify.worst import Runs
    from synth.folder import Finished
    from synth.job import Job

FILE = click.Path(path_type=Path)
NORMS = {"inf": math.inf, "2": 2.0}
SEMANTICS = ("real", "float64", "float32")
Row = dict[str, Any]


@click.command()
@click.argument("folder", type=FILE, metavar="RUN")
@click.option("--radius", type=float, default=0.0, metavar="R", help="Of balls; 0 by default.")
@click.option("--norm", default="inf", metavar="NORM", help="Of balls: inf or 2.")
@click.option("--within", type=float, nargs=2, metavar="LOW HIGH", help="What any input lies in.")
@click.option("--samples", type=int, default=100, metavar="N", help="Held-out probes; 100.")
@click.option("--domain", default=ENVELOPE, metavar="D", help="envelope, sound, or FILE.npz.")
@click.option("--units", metavar="NAMES", help="Layers and units to list, by commas; all.")
@click.option("--epsilon", type=float, metavar="E", help="Split the box until within E.")
@click.option("--time", "seconds", type=float, default=60.0, metavar="S", help="Seconds; 60.")
@click.option("--semantics", default="real", metavar="S", help="real, float64 or float32.")
@click.option("--device", default="cpu", help="cpu, or cuda.")
@click.option("--config", type=FILE, help="The configuration, if it is not where it was.")
@json_option
def prove(folder: Path, config: Path | None, as_json: bool, **asked: Any) -> None:
    """Bound how far the replacement can be from the network, beside how far it is seen to be.

    In a ball around each of N held-out probes: a bound of how far any output differs, and whether
    both networks give the original's answer everywhere in it. Or over a box of inputs: one bound,
    by splitting where there are few inputs; --domain is then FILE.npz with the arrays lower and
    upper, or sound for the least box of the probes of fit and select. Beside each bound stands the
    largest difference that was found, replayed in float64.

    And for each unit: a bound on its program over the same sources, and one on the program over
    replaced sources beside the unit over the original ones, in real arithmetic; over the envelope
    of each layer, or what the box of inputs makes of it. The latter is bounded too as both networks
    are carried together, over the same balls or box as the outputs. Writes proofs.json into RUN.
    """
    from synth.certify.report import wanted_units
    from synth.files import write_atomic
    from synth.folder import PROOFS, open_run
    from synth.origin import job_of
    from synth.shown.prove import print_proofs
    from synth.shown.tables import print_json

    check_asked(asked)
    found = open_run(folder)
    wanted = wanted_units(found, asked.pop("units"))
    document = _proved(job_of(found.folder, config), found, wanted, asked)
    write_atomic(folder / PROOFS, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    print_json(document) if as_json else print_proofs(document)


def check_asked(asked: Row) -> None:
    """Raises InputError with all that is wrong with the options."""
    from synth.config_rules import DEVICE

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
        if not DEVICE.accepts(asked["device"]):
            problems.add(f"--device {asked['device']!r}: expected {DEVICE.expected}.")
        if asked["samples"] < 1:
            problems.add(f"--samples {asked['samples']}: expected at least 1.")
        boxed = asked["domain"] != ENVELOPE
        if boxed and asked["radius"]:
            problems.add("--domain and --radius: a box has no radius; leave one of them out.")
        if asked["epsilon"] is not None and not boxed:
            problems.add("--epsilon is for --domain: balls are bounded as they are.")
        if (within := asked["within"]) and not within[0] <= within[1]:
            problems.add(f"--within {within[0]} {within[1]}: expected LOW <= HIGH.")
        if within and asked["norm"] != "inf":
            problems.add("--within: only balls of the norm inf can be cut.")


def _proved(job: "Job", run: "Finished", wanted: "Set[Unit]", asked: Row) -> Row:
    """What is written. Raises InputError: an operation that nothing encloses, a wrong box."""
    from oracles.difference import rounding
    from oracles.difference.curves import NoTransformer
    from synth.certify.report import units_proved
    from synth.certify.walk import Certifier, Watched
    from synth.certify.worst import Runs
    from synth.chain import load_choices
    from synth.devices import check_device
    from synth.threads import numeric_threads

    check_device(asked["device"], place="--device")
    choices, until = load_choices(job, run.folder), time.monotonic() + asked["seconds"]
    semantics = rounding.SEMANTICS[asked["semantics"]]
    try:
        with numeric_threads(job.config.run.jobs):
            network = job.network.on(asked["device"])
            certifier = Certifier.of(network, choices, job.grammar, semantics)
            watched = {name: Watched(step) for name, step in certifier.steps.items()}
            certifier = replace(certifier, steps=watched)
            runs = Runs.of(certifier, choices, job.grammar)
            prove = _around_probes if asked["domain"] == ENVELOPE else _over_a_box
            document = _head(certifier, asked) | prove(certifier, runs, job, asked)
            domain = asked["domain"]
            units = units_proved(run, job, choices, runs, domain=domain, wanted=wanted, until=until)
            for row in units["rows"]:
                most = watched[row["layer"]].most
                row["carried"] = None if most is None else float(most[row["channel"]])
            return document | {"units": units}
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


def _around_probes(certifier: "Certifier", runs: "Runs", job: "Job", asked: Row) -> Row:
    import numpy as np

    from synth.certify.proofs import Ball, prove_balls, summarised
    from synth.certify.worst import search_balls
    from synth.outputs import reading_of, run_batches

    until = time.monotonic() + 0.6 * asked["seconds"]
    held_out = job.parts.held_out.inputs.on(asked["device"])
    count = min(asked["samples"], len(held_out))
    few = held_out.take(np.arange(count))
    outputs = run_batches(certifier.network.module, few, pick=certifier.network.judge)
    ball = Ball(asked["radius"], NORMS[asked["norm"]], asked["within"])
    rows = prove_balls(certifier, few, ball, reading_of(outputs), seconds=asked["seconds"] / 2)
    rows = search_balls(runs, few, ball, rows, until=until)
    domain = {k: asked[k] for k in ("radius", "norm", "within")}
    said = {"domain": {"kind": "balls", "around": "held-out", **domain}}
    return {**said, "summary": summarised(rows, count), "rows": rows}


def _over_a_box(certifier: "Certifier", runs: "Runs", job: "Job", asked: Row) -> Row:
    from synth.certify.domain import box_of, outside
    from synth.certify.proofs import prove_box
    from synth.certify.worst import searched_box

    lower, upper = box_of(job, asked["domain"])
    ends = (end.to(asked["device"]) for end in (lower, upper))
    found = prove_box(certifier, *ends, epsilon=asked["epsilon"], seconds=asked["seconds"] / 2)
    found |= searched_box(runs, lower, upper, found["bound"])
    domain = {"kind": "box", "of": asked["domain"], "outside": outside(job, lower, upper)}
    return {"domain": domain | {"lower": lower.tolist(), "upper": upper.tolist()}, "box": found}
