"""What is proved of the programs of three networks, and how much its bounds overshoot.

digits_mlp100 as it ships, LeNet-1 on MNIST, and the first layer of SqueezeNet as kernels, all at
the default ε, a quarter of a unit's range on fit. Of each proved program the bound is held against
the worst point that the falsifier finds: with the closed form's own point among its starts, and
without, by ascent alone. `--data FOLDER` holds the data and networks of the latter two.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.networks import lenets, squeezenet
from benchmarks.sections import Given, Measured, check
from benchmarks.timed import minutes_of
from grammars.compiled import compile_bank
from grammars.grammar import Grammar
from oracles.claims import Affine, Box, Proved
from oracles.falsify import affines, highest
from synth.affine import affine_forms, unit_bank, unit_box
from synth.assembly import LayerChoice, Status, source_index
from synth.chain import load_choices
from synth.config import load_config
from synth.evidence import Ranges, gather
from synth.job import Job, load_job
from synth.proofs import UnitProof, prove_choices

ROOT = Path(__file__).parent.parent
PROBES = 4000  # images of MNIST
CASE = """
import sys
from functools import partial
from pathlib import Path
sys.path.insert(0, {root!r})
from benchmarks.networks import lenets, squeezenet
data = Path({data!r})
network = partial(lenets.network, data, "lenet1")
probes = partial(lenets.probes, data, {probes})
unseen = partial(lenets.unseen, data)
first = partial(squeezenet.network, data)
photographs = partial(squeezenet.images, data, slice(0, None, 2))
others = partial(squeezenet.images, data, slice(1, None, 2))
"""
LENET = """
[network]
factory = "case.py:network"
[probes]
inputs = "case.py:probes"
test_inputs = "case.py:unseen"
[run]
controls = []
"""
SQUEEZENET = """
[network]
factory = "case.py:first"
[probes]
inputs = "case.py:photographs"
test_inputs = "case.py:others"
[search]
layers = ["conv1"]
engines = ["linear", "kernel"]
tags = ["core", "kernel", "colour"]
[run]
controls = []
"""


@dataclass(frozen=True)
class Network:
    """A network's configuration, as a file in a folder that is given, and the files it needs."""

    name: str
    config: Callable[[Path], Path]
    needs: tuple[Path, ...] = ()


def measure(given: Given) -> Measured:
    """A row for each network; the first alone where less than all is asked for."""
    networks = _networks(given.data)
    rows, checks = [], []
    for network in networks[: given.cases(len(networks))]:
        missing = [str(file) for file in network.needs if not file.is_file()]
        if missing:
            checks.append(check(f"{network.name}: its files", missing[0], "there", False))
            continue
        rows.append(_row(network, given))
        share = rows[-1]["proved_share"]
        name = f"{network.name}: accepted programs proved"
        checks.append(check(name, share, "== 1", share == 1))
        over = rows[-1]["false"]
        checks.append(check(f"{network.name}: bounds exceeded", over, "0", over == 0))
    return rows, checks


def _networks(data: Path) -> list[Network]:
    def written(text: str) -> Callable[[Path], Path]:
        def write(folder: Path) -> Path:
            case = CASE.format(root=str(ROOT), data=str(data), probes=PROBES)
            (folder / "case.py").write_text(case, encoding="utf-8")
            (folder / "case.toml").write_text(text, encoding="utf-8")
            return folder / "case.toml"

        return write

    return [
        Network("digits_mlp100", lambda _: ROOT / "examples" / "digits_mlp100.toml"),
        Network("mnist_lenet1", written(LENET), tuple(lenets.files(data, "lenet1"))),
        Network("SqueezeNet conv1", written(SQUEEZENET), tuple(squeezenet.files(data))),
    ]


def _row(network: Network, given: Given) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="shares-") as name:
        config, out = network.config(Path(name)), Path(name) / "run"
        minutes = minutes_of(config, out, given.jobs, given.seed)
        job = load_job(load_config(config, {"run.out": str(out), "run.seed": given.seed}))
        choices = load_choices(job, out)
        ranges = _ranges(job, choices, given.seed)
        proofs = prove_choices(
            choices, ranges, job.grammar, max_error=job.criteria.max_error, jobs=given.jobs
        )
        accepted = [p for p in proofs if _status(choices, p) in (Status.PROGRAM, Status.ROUNDED)]
        proved = [p for p in accepted if isinstance(p.verdict, Proved)]
        pairs = list(_overshoots(choices, ranges, proved, job.grammar))
        ratios = [p.bound_over_std for p in proved if p.bound_over_std is not None]
        return {
            "network": network.name,
            "minutes": round(minutes, 2),
            "units": sum(len(c.units) for c in choices if not c.is_opaque),
            "accepted": len(accepted),
            "proved_share": len(proved) / max(len(accepted), 1),
            "bound_over_std": median(ratios),
            "overshoot": median(above for above, _ in pairs),
            "overshoot_by_ascent": median(above for _, above in pairs),
            "false": sum(above < 1 for pair in pairs for above in pair),
        }


def _ranges(job: Job, choices: Sequence[LayerChoice], seed: int) -> dict[str, Ranges]:
    spoken = {c.layer.name for c in choices if not c.is_opaque}
    found = gather(job.network, job.probes, seed=seed, layers=spoken)
    return {evidence.layer.name: evidence.ranges for evidence in found}


def _status(choices: Sequence[LayerChoice], proof: UnitProof) -> Status:
    (choice,) = (c for c in choices if c.layer.name == proof.layer)
    return choice.units[proof.channel].status


def _overshoots(
    choices: Sequence[LayerChoice],
    ranges: dict[str, Ranges],
    proofs: Sequence[UnitProof],
    grammar: Grammar,
) -> Iterator[tuple[float, float]]:
    """The bound of each proof over what the falsifier finds, with the closed form's point and
    without; of programs that are their units exactly there is nothing to find."""
    for choice in choices:
        own = {p.channel: p for p in proofs if p.layer == choice.layer.name}
        for channel, unit, program, box in _pairs(choice, ranges, own, grammar):
            verdict, sides = own[channel].verdict, affines(unit, program, box, grammar)
            if isinstance(verdict, Proved) and verdict.bound:
                blind = replace(sides, suspects=sides.suspects[:0])
                found = (highest(one, box).difference for one in (sides, blind))
                first, second = (
                    float(verdict.bound / max(d, verdict.bound / 10**6)) for d in found
                )
                yield first, second


def _pairs(
    choice: LayerChoice, ranges: dict[str, Ranges], own: dict[int, UnitProof], grammar: Grammar
) -> Iterator[tuple[int, Affine, Affine, Box]]:
    """The proved units of a layer with their programs and boxes."""
    if not own:
        return
    layer = choice.layer
    bank = compile_bank(choice.expanded(grammar), source_index(choice.scope), grammar)
    forms = affine_forms(layer, range(layer.units), bank)
    for place, channel in enumerate(forms.places):
        if channel in own:
            unit, program = unit_bank(layer, [channel])[0], forms.bank[place]
            yield channel, unit, program, unit_box(ranges[layer.name], channel)
