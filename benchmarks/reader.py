"""Architectures that people use, at full size: are they read back, and what is left over.

`make bench NAME=reader` prints the table and writes results/reader.json; it exits 1 where a bar is
missed. Takes about a minute on one core.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "synth")]

from families import (  # noqa: E402  # pyright: ignore[reportMissingImports]
    FAMILIES,  # the repository is not a package
    Family,
    lively,
)

from benchmarks.report import Report  # noqa: E402
from synth.modules import layer_module  # noqa: E402
from synth.network import Network, read_network  # noqa: E402

SAMPLES = 4
BAR = 1e-5  # of the largest output, in float32


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    report = Report("reader", given.seed)
    for family in FAMILIES:
        _family(report, family, given.seed)
    return report.finish()


def _family(report: Report, family: Family, seed: int) -> None:
    torch.manual_seed(seed)
    module = lively(family.make())
    start = time.perf_counter()
    network = read_network(module, torch.zeros(1, *family.shape))
    seconds = round(time.perf_counter() - start, 2)
    difference = _difference(module, network, torch.randn(SAMPLES, *family.shape))
    opaque = [f"{o.node} ({o.operation}) in {o.module_path}" for o in network.opaque]
    report.rows.append(_row(family, network, opaque, difference, seconds))
    name = str(family)
    report.check(f"{name}: largest difference", difference, f"<= {BAR}", difference <= BAR)
    expected = ", ".join(family.opaque) or "none"
    found = ", ".join(o.node for o in network.opaque) or "none"
    report.check(f"{name}: opaque nodes", found, expected, found == expected)


def _row(
    family: Family, network: Network, opaque: list[str], difference: float, seconds: float
) -> dict[str, Any]:
    return {
        "network": str(family),
        "shape": list(family.shape),
        "layers": len(network.layers),
        "units": sum(layer.units for layer in network.layers),
        "weights": sum(layer.weight.size for layer in network.layers),
        "views": len(network.views),
        "opaque": opaque,
        "largest_difference": difference,
        "seconds_to_read": seconds,
    }


def _difference(module: nn.Module, network: Network, x: Tensor) -> float:
    """max |read back − original| over max |original|, every layer from its folded weights."""
    replaced = network.replaced({layer.name: layer_module(layer) for layer in network.layers})
    with torch.no_grad():
        expected = module(x)
        return float((replaced(x) - expected).abs().max() / expected.abs().max())


if __name__ == "__main__":
    raise SystemExit(main())
