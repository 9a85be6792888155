"""A layer that sees: the first of SqueezeNet as kernels.

`make bench NAME=vision` writes results/vision.json; it exits 1 where a bar is missed. `--data
FOLDER` holds data/imagenet500.npz and nets/imagenet_squeezenet10.safetensors. Networks as a whole
are in `benchmarks/networks.py`.

SqueezeNet's programs are fitted and chosen on 250 photographs, by the kernel engine alone; the
other 250 only judge. Its claims are of one range of a unit: over the box of all images that a
window of 147 numbers can show, an error that is hardly seen on photographs is large.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import recovery  # noqa: E402  (the repository is not a package)
from benchmarks.networks import squeezenet  # noqa: E402
from benchmarks.report import Report  # noqa: E402
from benchmarks.timed import minutes_of  # noqa: E402
from grammars.coding import opaque_bits  # noqa: E402
from grammars.program import Node, terms_of  # noqa: E402
from synth.assembly import LayerChoice, Status  # noqa: E402
from synth.baselines import entropy_bits  # noqa: E402
from synth.chain import load_choices  # noqa: E402
from synth.config import load_config  # noqa: E402
from synth.job import load_job  # noqa: E402

COMPONENTS, MAX_FVU, SHARE = 5, 0.02, 0.08
PROGRAMS, ACCURACY, AGREEMENT, MINUTES = 0.90, -0.008, 0.96, 4

CASE = """
import sys
from functools import partial
from pathlib import Path
sys.path.insert(0, {root!r})
from benchmarks.networks import squeezenet
data = Path({data!r})
network = partial(squeezenet.network, data)
probes = partial(squeezenet.images, data, slice(0, None, 2))
unseen = partial(squeezenet.images, data, slice(1, None, 2))
"""
CONFIG = """
[network]
factory = "case.py:network"
[probes]
inputs = "case.py:probes"
test_inputs = "case.py:unseen"
[search]
layers = ["conv1"]
engines = ["kernel"]
tags = ["core", "kernel", "colour"]
max_fvu = 0.02
max_error = 1.0
[accept]
min_agreement = 0.98  # of the definition of drop-in
bits = 0.075  # what the bar allows, less a little: proofs may take programs back
[run]
controls = []
"""


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared")
    given = options.parse_args()
    missing = [str(f) for f in squeezenet.files(given.data) if not f.is_file()]
    if missing:
        options.error(f"{missing[0]} is missing: --data names the folder that holds data/, nets/")
    report = Report("vision", given.seed)
    with tempfile.TemporaryDirectory(prefix="vision-") as name:
        _squeezenet(report, Path(name), given.data.absolute(), given.jobs, given.seed)
    return report.finish()


def written_case(folder: Path, data: Path, seed: int) -> Path:
    """The configuration of SqueezeNet's first layer, written into a folder."""
    (folder / "case.py").write_text(CASE.format(root=str(ROOT), data=str(data)), encoding="utf-8")
    config = folder / "case.toml"
    config.write_text(f"{CONFIG}seed = {seed}\n", encoding="utf-8")
    return config


def _squeezenet(report: Report, folder: Path, data: Path, jobs: int, seed: int) -> None:
    config, out = written_case(folder, data, seed), folder / "run"
    minutes = minutes_of(config, out, jobs, seed)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    timing = json.loads((out / "timing.json").read_text(encoding="utf-8"))
    job = load_job(load_config(config, {"run.out": str(out)}))
    (choice,) = (c for c in load_choices(job, out) if c.layer.name == "conv1")
    row = {"minutes": round(minutes, 2), "stages": timing["seconds"]} | _figures(choice, summary)
    report.rows.append({"network": "SqueezeNet conv1"} | row)
    _check_layer(report, choice, row)
    recovery.measure(report, "SqueezeNet conv1", job, choice, seed)


def _figures(choice: LayerChoice, summary: dict[str, Any]) -> dict[str, Any]:
    """What the layer's programs are, and what they change."""
    units, layer = choice.units, choice.layer
    whole = opaque_bits(layer.fan) * layer.units
    return {
        "programs": sum(u.status is Status.PROGRAM for u in units),
        "components": [0 if u.program is None else components(u.program) for u in units],
        "median_fvu": float(np.median([u.fvu_in_situ for u in units])),
        "worst_fvu": float(max(u.fvu_in_situ for u in units)),
        "bits_share": sum(u.bits for u in units) / whole,
        "lossless_share": entropy_bits([layer]) / whole,
        "families": summary["families"],
        "proved": summary["proved"],
        **{k: summary[k] for k in ("agreement", "accuracy_change", "accuracy_change_interval")},
    }


def _check_layer(report: Report, choice: LayerChoice, row: dict[str, Any]) -> None:
    units = choice.units
    short = sum(
        u.status is Status.PROGRAM and u.fvu_in_situ <= MAX_FVU and count <= COMPONENTS
        for u, count in zip(units, row["components"], strict=True)
    ) / len(units)
    name = "SqueezeNet conv1"
    report.check(f"{name}: programs of at most 5", short, f">= {PROGRAMS}", short >= PROGRAMS)
    share, lossless = row["bits_share"], row["lossless_share"]
    report.check(f"{name}: share of bits", share, f"<= {SHARE}", share <= SHARE)
    below = f"< {lossless:.3f}, its entropy code"
    report.check(f"{name}: share of bits", share, below, share < lossless)
    change, same = row["accuracy_change"], row["agreement"]
    report.check(f"{name}: accuracy change", change, f">= {ACCURACY}", change >= ACCURACY)
    report.check(f"{name}: agreement", same, f">= {AGREEMENT}", same >= AGREEMENT)
    report.check(f"{name}: proved", row["proved"], "all 96", row["proved"] == len(units))
    report.check(f"{name}: minutes", row["minutes"], f"<= {MINUTES}", row["minutes"] <= MINUTES)


def components(program: Node) -> int:
    """Kernels, and taps beside them, that a unit's program adds up."""
    head = program.op != "linear" and len(program.args) == 1
    return len(terms_of(program.args[0] if head and program.op != "conv" else program)[0])


if __name__ == "__main__":
    sys.exit(main())
