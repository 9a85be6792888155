"""What is proved of whole networks: a section each of `benchmarks/proofs.py`.

ReluDiff's MNIST network and the ACAS Xu networks against their 16-bit versions (Paulsen et al.
2020; NeuroDiff 2020), a decompiled MNIST network, and the digits of the examples. A section returns
rows and checks; weights and images are read from a folder beside the project, `shared`.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.report import Check  # noqa: E402  (the repository is not a package)
from benchmarks.sections import Given, Measured  # noqa: E402
from benchmarks.timed import minutes_of  # noqa: E402
from oracles.difference.affine import Affine, affine, dense  # noqa: E402
from oracles.difference.answers import answers, difference_bound  # noqa: E402
from oracles.difference.bend import bent_pair  # noqa: E402
from oracles.difference.curves import bent  # noqa: E402
from oracles.difference.pair import Pair, same  # noqa: E402
from oracles.difference.rounding import REAL, SEMANTICS, Semantics, down, up  # noqa: E402
from oracles.difference.splitting import Bounded, Covered, covered  # noqa: E402
from oracles.difference.zonotope import INPUT, Zonotope, box  # noqa: E402
from synth.certify.proofs import Ball  # noqa: E402

IMAGES = 10  # that are carried together
PIXELS = 3 / 255
MNIST_SECONDS, MNIST_MEDIAN = 7.3, 0.0024
ACAS_SECONDS, ACAS_EPSILONS = 20.0, (0.05, 0.01)
PROPERTIES = {
    3: ((1500, -0.06, 3.10, 980, 960), (1800, 0.06, 3.141593, 1200, 1200)),
    4: ((1500, -0.06, 0.0, 1000, 700), (1800, 0.06, 0.0, 1200, 800)),
}
NOT_CLAIMED = ("1_7", "1_8", "1_9")
BITS, PROBES = 0.15, 10_000  # of the decompiled network, and what it is fitted on
MAX_FVU, MAX_ERROR = 1.0, 64.0  # bits decide: no unit is held to less
DIGITS_RADII = (0.0, 1 / 255)


def sixteen_bits(given: Given) -> Measured:
    """Networks of others against their 16-bit versions."""
    return _together(reludiff(given.data), acasxu(given.data))


def ours(given: Given) -> Measured:
    """Networks against their source."""
    with tempfile.TemporaryDirectory(prefix="proofs-") as name:
        folder = Path(name)
        return _together(
            decompiled(folder, given.data, jobs=given.jobs, seed=given.seed),
            digits(folder / "digits", jobs=given.jobs),
        )


def _together(*sections: Measured) -> Measured:
    rows = [row for found, _ in sections for row in found]
    return rows, [check for _, found in sections for check in found]


def reludiff(shared: Path) -> Measured:
    """ReluDiff's MNIST network 784-100-100-10-10 on its 100 images, pixels ± 3 of 255 within 0 … 1.

    The difference is that of the original's answer, as ReluDiff has it; the largest over all
    outputs is in the row as well.
    """
    tensors = load_file(shared / "nets/mnist_relu_3_100.safetensors")
    nets = _steps(tensors, "", 4), _steps(tensors, "16bit.", 4)
    images = np.load(shared / "data/reludiff_mnist100.npz")["images"]
    pixels = torch.from_numpy(images.reshape(len(images), -1) / 255.0)
    rows = []
    for semantics in SEMANTICS.values():
        row = _certified(nets, pixels, semantics)
        rows.append({"network": f"mnist 3x100, 16 bit, {semantics.name}", **row})
    real, count = rows[0], len(pixels)
    kept, seconds, median = real["same"], real["seconds"], real["difference_median"]
    return rows, [
        Check(
            "mnist 16 bit: images within 1", real["within_1"], f"{count}", real["within_1"] == count
        ),
        Check("mnist 16 bit: seconds", seconds, f"≤ {MNIST_SECONDS}", seconds <= MNIST_SECONDS),
        Check(
            "mnist 16 bit: median difference", median, f"≤ {MNIST_MEDIAN}", median <= MNIST_MEDIAN
        ),
        Check("mnist 16 bit: answers kept", kept, f"{real['original']}", kept == real["original"]),
    ]


def acasxu(
    shared: Path, *, epsilons: Sequence[float] = ACAS_EPSILONS, networks: int | None = None
) -> Measured:
    """42 ACAS Xu networks against their 16-bit versions over the boxes of properties 3 and 4.

    Every output differs by less than ε; the first ε has a bar, the others are reported. `networks`
    takes the first few.
    """
    tensors = load_file(shared / "nets/acasxu.safetensors")
    names = sorted({name.partition(".")[0] for name in tensors} - set(NOT_CLAIMED))[:networks]
    rows, checks = list[dict[str, Any]](), list[Check]()
    for epsilon in epsilons:
        for number, ends in PROPERTIES.items():
            start = time.perf_counter()
            found = [_covered(tensors, name, ends, epsilon) for name in names]
            seconds = time.perf_counter() - start
            proved = sum(one.bound <= epsilon for one in found)
            row = {"network": f"ACAS Xu, property {number}, ε = {epsilon}", "networks": len(names)}
            boxes = sum(one.boxes for one in found)
            rows.append(row | {"proved": proved, "seconds": round(seconds, 2), "boxes": boxes})
            if epsilon == epsilons[0]:
                whole = proved == len(names)
                checks += [
                    Check(f"{row['network']}: proved", proved, f"{len(names)}", whole),
                    Check(
                        f"{row['network']}: seconds",
                        round(seconds, 2),
                        f"≤ {ACAS_SECONDS:g}",
                        seconds <= ACAS_SECONDS,
                    ),
                ]
    return rows, checks


def digits(run: Path, *, jobs: int) -> Measured:
    """digits_mlp100 decompiled into `run`: what both networks are certified to answer on
    held-out."""
    minutes_of(ROOT / "examples/digits_mlp100.toml", run, jobs, 0)
    rows = []
    for radius in DIGITS_RADII:
        found = _proved(run, "--radius", repr(radius), "--samples", "100000", "--time", "600")
        rows.append({"network": f"digits_mlp100, radius {radius:.4g}", **found["summary"]})
    return rows, []


def decompiled(folder: Path, shared: Path, *, jobs: int, seed: int) -> Measured:
    """ReluDiff's network decompiled into `folder` within 15 % of its bits, and the answers that
    both are certified to keep on the benchmark's images, which are held out."""
    run = folder / "run"
    command = [sys.executable, "-m", "synth", "run", str(_case(folder, shared, jobs, seed))]
    subprocess.run([*command, "--out", str(run)], cwd=ROOT, check=False)  # 1 where not drop-in
    options = ("--radius", repr(PIXELS), "--within", "0", "1", "--time", "600")
    summary = _proved(run, *options)["summary"]
    bits = json.loads((run / "summary.json").read_text(encoding="utf-8"))["bits_share"]
    kept = summary["same"] / max(summary["original"], 1)
    row = {"network": "mnist 3x100, decompiled", "bits": bits, "retention": kept, **summary}
    whole = summary["done"] == summary["asked"]
    return [row], [
        Check("mnist decompiled: bits", bits, f"≤ {BITS}", bits <= BITS),
        Check("mnist decompiled: answers kept", kept, "≥ 0.98", whole and kept >= 0.98),
    ]


def _case(folder: Path, shared: Path, jobs: int, seed: int) -> Path:
    """The configuration of a run of ReluDiff's network, written into a folder."""
    (folder / "case.py").write_text(
        f"import sys\nfrom functools import partial\nfrom pathlib import Path\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        f"from benchmarks.networks import reludiff\n"
        f"data = Path({str(shared.absolute())!r})\n"
        f"network = partial(reludiff.network, data)\n"
        f"probes = partial(reludiff.probes, data, {PROBES})\n"
        f"unseen = partial(reludiff.unseen, data)\n",
        encoding="utf-8",
    )
    path = folder / "case.toml"
    path.write_text(
        '[network]\nfactory = "case.py:network"\n'
        '[probes]\ninputs = "case.py:probes"\ntest_inputs = "case.py:unseen"\n'
        f"[search]\nmax_fvu = {MAX_FVU}\nmax_error = {MAX_ERROR}\n"
        f"[accept]\nbits = {BITS}\nmargin = 0.05\n"
        f"[run]\ncontrols = []\njobs = {jobs}\nseed = {seed}\n",
        encoding="utf-8",
    )
    return path


def _proved(run: Path, *options: str) -> dict[str, Any]:
    """What `synth prove` writes."""
    command = [sys.executable, "-m", "synth", "prove", str(run), "--json", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _certified(
    nets: tuple[list[Affine], list[Affine]], pixels: Tensor, semantics: Semantics
) -> dict[str, Any]:
    """The figures of all images at `PIXELS`, and the seconds they took."""
    start = time.perf_counter()
    found = list(_answers(nets, pixels, semantics))
    seconds = time.perf_counter() - start
    bounds = torch.cat([one.bound for one in found])
    answer = torch.cat([one.answer for one in found])
    own = bounds.gather(1, answer[:, None])[:, 0]
    original, kept = (
        sum(int(p.sum()) for p in parts)
        for parts in ([one.original for one in found], [one.same for one in found])
    )
    return {
        "images": len(pixels),
        "within_1": int((bounds.amax(1) <= 1).sum()),
        "difference_median": float(own.median()),
        "difference_of_all_outputs_median": float(bounds.amax(1).median()),
        "difference_of_all_outputs_max": float(bounds.max()),
        "original": original,
        "same": kept,
        "seconds": round(seconds, 2),
    }


def _answers(
    nets: tuple[list[Affine], list[Affine]], pixels: Tensor, semantics: Semantics
) -> Iterator[Any]:
    for batch in pixels.split(IMAGES):
        inputs = Ball(PIXELS, within=(0.0, 1.0)).around(batch, INPUT)
        yield answers(_carried(nets, inputs, semantics))


def _covered(
    tensors: dict[str, Tensor], name: str, ends: tuple[Sequence[float], ...], epsilon: float
) -> Covered:
    """One network over the box of a property, in the units of its inputs."""
    means, ranges = (tensors[f"{name}.{part}"][:5] for part in ("means", "ranges"))
    lower, upper = ((torch.tensor(end, dtype=torch.float64) - means) / ranges for end in ends)
    nets = _steps(tensors, f"{name}.", 7), _steps(tensors, f"{name}.16bit.", 7)

    def bounds(low: Tensor, high: Tensor) -> Bounded:
        inputs = box(low, high)
        outputs = _carried(nets, inputs, REAL)
        (symbols,) = inputs.blocks
        assert symbols.limits is not None
        moves = outputs.difference.blocks[symbols].abs().sum(2) * symbols.limits
        return Bounded(difference_bound(outputs).amax(1), moves)

    lower, upper = down(down(lower)), up(up(upper))  # two roundings made them
    return covered(bounds, lower, upper, epsilon=epsilon, seconds=120)


def _carried(
    nets: tuple[list[Affine], list[Affine]], inputs: Zonotope, semantics: Semantics
) -> Pair:
    """Outputs of two networks with rectifiers between their dense layers."""
    pair, relu = same(inputs), bent()
    for place, (one, other) in enumerate(zip(*nets, strict=True)):
        if place:
            pair = bent_pair(pair, relu, f"relu{place}", semantics)
        pair = affine(pair, one, other, semantics)
    return pair


def _steps(tensors: dict[str, Tensor], prefix: str, count: int) -> list[Affine]:
    layers = [f"{prefix}fc{number}" for number in range(1, count + 1)]
    return [dense(tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in layers]
