"""Ten curve units of InceptionV1 as one tuning program, and their weights as one family of arcs.

`make bench NAME=curves` writes results/curves.json and results/curves.svg; it exits 1 where a bar
is missed. `--data FOLDER` holds data/curve_circuits.npz: responses of real units to synthetic
curves at every half degree, and weights between two layers (Cammarata et al., Distill 2021, CC-BY).

The program is one function of the angle, and an angle and a gain for each unit. It is fitted on
every second arc of so many degrees and judged on the others, and once more with the two changed, so
that every step is judged by a program that was not fitted on it. The bar is for arcs of 10 degrees.
Wider ones leave out whole peaks, which are 35 degrees wide at half their height: they are in the
rows.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.curve_weights import explain  # noqa: E402  (the repository is not a package)
from benchmarks.panels import Panel, save_panels  # noqa: E402
from benchmarks.report import RESULTS, Report  # noqa: E402
from benchmarks.tuning_program import (  # noqa: E402
    DEGREES,
    TuningProgram,
    fit_program,
    r_squared,
    rotated,
)

ARCS, ARC = (5, 10, 15, 30), 10  # degrees that are left out at a time; the bar's
MEDIAN_R2 = 0.97
BETWEEN = 3  # steps between two points of a picture


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared")
    given = options.parse_args()
    path = given.data / "data" / "curve_circuits.npz"
    if not path.is_file():
        options.error(f"{path} is missing: --data names the folder that holds data/")
    with np.load(path) as arrays:
        data = {name: arrays[name] for name in arrays.files}
    report = Report("curves", 0)
    curves, units = data["tuning_mixed3b"].astype(np.float64), data["tuning_mixed3b_units"]
    for arc in ARCS:
        _tuning(report, curves, units, arc)
    _weights(report, data, curves)
    return report.finish()


def _tuning(report: Report, curves: np.ndarray, units: np.ndarray, arc: int) -> None:
    """Fit on one half of the arcs, judge on the other, and the other way round."""
    halves = [(DEGREES // arc) % 2 == half for half in (0, 1)]
    programs = [fit_program(curves, fitted) for fitted in halves]
    said, one_turned = np.empty_like(curves), np.empty((len(curves), *curves.shape))
    for fitted, program in zip(halves, programs, strict=True):
        said[:, ~fitted] = program.responses()[:, ~fitted]
        one_turned[:, :, ~fitted] = rotated(curves, fitted)[:, :, ~fitted]
    held_out = [r_squared(c, s) for c, s in zip(curves, said, strict=True)]
    median, turned = float(np.median(held_out)), _best_turned(curves, one_turned)
    row = {
        "median_r2": median,
        "worst_r2": min(held_out),
        "r2": dict(zip(map(str, units), held_out, strict=True)),
        "median_r2_of_halves": [
            _median(curves[:, ~fitted], program.responses()[:, ~fitted])
            for fitted, program in zip(halves, programs, strict=True)
        ],
        "median_r2_fitted": [
            _median(curves[:, fitted], program.responses()[:, fitted])
            for fitted, program in zip(halves, programs, strict=True)
        ],
        "one_unit_turned": turned,
        "programs": [program.text for program in programs],
        "angles": programs[0].angles.tolist(),
        "gains": programs[0].gains.tolist(),
        "bits": round(programs[0].bits),
    }
    report.rows.append({"network": f"mixed3b, arcs of {arc} degrees left out"} | row)
    if arc == ARC:
        name = "median R² on steps left out, of one program"
        report.check(name, median, f">= {MEDIAN_R2}", median >= MEDIAN_R2)
        report.check(name, median, f"> {turned:.4f}, one unit turned", median > turned)
        _draw(curves, said, units, held_out)


def _median(curves: np.ndarray, said: np.ndarray) -> float:
    return float(np.median([r_squared(c, s) for c, s in zip(curves, said, strict=True)]))


def _best_turned(curves: np.ndarray, turned: np.ndarray) -> float:
    """The largest median R² that one unit, turned and scaled, has on the others."""
    medians = []
    for j, said in enumerate(turned):
        others = np.arange(len(curves)) != j
        medians.append(_median(curves[others], said[others]))
    return max(medians)


def _weights(report: Report, data: Mapping[str, np.ndarray], curves: np.ndarray) -> None:
    """Line and curve units of conv2d2 to the ten units, through the layers between."""
    program: TuningProgram = fit_program(curves, np.full(len(DEGREES), True))
    preferred = dict(zip(data["tuning_mixed3b_units"], program.angles, strict=True))
    units = data["w_conv2d2_mixed3b_down"]
    weights = data["w_conv2d2_mixed3b"].astype(np.float64)
    found = explain(weights, np.array([preferred[unit] for unit in units]))
    sources = len(weights)
    report.rows.append(
        {
            "network": "conv2d2 to mixed3b, expanded weights",
            "model": "a gain and a place for each pair of source and target: gain * "
            "curve(angle=place - preferred angle of the target, radius, width, span), put where "
            "the arc through the centre has that direction",
            "shared": vars(found.shape),
            "share_place_by_pair": found.all_by_pair,
            "share_place_by_source": found.all_by_source,
            "constants_by_pair": 2 * sources * len(units) + len(units) + len(vars(found.shape)),
            "constants_by_source": sources * (len(units) + 1) + len(units) + len(vars(found.shape)),
            "weights": weights.size,
            "by_pair": dict(zip(map(str, units), found.by_pair.tolist(), strict=True)),
            "by_source": dict(zip(map(str, units), found.by_source.tolist(), strict=True)),
            "share_of_one_kernel_a_target": _one_kernel(weights),
        }
    )


def _one_kernel(weights: np.ndarray) -> float:
    """The share of the best free kernel (h, w) a target, with a gain a pair: no family of one
    kernel a target can explain more."""
    flat = weights.reshape(*weights.shape[:2], -1).transpose(1, 0, 2)
    largest = [np.linalg.svd(one, compute_uv=False)[0] ** 2 for one in flat]
    return float(sum(largest) / (flat**2).sum())


def _draw(curves: np.ndarray, said: np.ndarray, units: np.ndarray, r2: list[float]) -> None:
    panels = [
        Panel(f"unit {unit}: R² {share:.3f}", c[::BETWEEN].tolist(), s[::BETWEEN].tolist())
        for unit, share, c, s in zip(units, r2, curves, said, strict=True)
    ]
    title = "InceptionV1 mixed3b, responses to curves over 360 degrees: measured (grey), program"
    save_panels(RESULTS / "curves.svg", title, panels)


if __name__ == "__main__":
    sys.exit(main())
