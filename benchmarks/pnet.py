"""P-Net as a whole, as `examples/pnet.toml` decompiles it: what its units are, and what changes."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.report import Report
from benchmarks.timed import minutes_of

ROOT = Path(__file__).parent.parent
NAME = "P-Net whole"
SHORT, CHANGED = 0.90, 1  # share of conv1's units with a short program; answers of 200


def measure(report: Report, out: Path, jobs: int, seed: int) -> None:
    """Runs the example into the folder `out`, and adds a row and three checks to the report."""
    config = ROOT / "examples" / "pnet.toml"
    minutes = minutes_of(config, out, jobs, seed)
    timing = json.loads((out / "timing.json").read_text(encoding="utf-8"))
    row = {"minutes": round(minutes, 2), "stages": timing["seconds"]} | figures(out)
    report.rows.append({"network": NAME} | row)
    _check(report, row)


def figures(out: Path) -> dict[str, Any]:
    """Statuses and short coverage of a finished run, by layer, and what held-out says of it."""
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    units = json.loads((out / "programs.json").read_text(encoding="utf-8"))["units"]
    statuses: dict[str, Counter[str]] = {}
    for unit in units:
        statuses.setdefault(unit["layer"], Counter())[unit["status"]] += 1
    kept = ("verdict", "accepted", "agreement", "accuracy_original", "accuracy_replaced")
    kept += ("bits", "bits_share", "proved", "unknown", "kl_mean")
    return {
        "units": {name: dict(found) for name, found in statuses.items()},
        "opaque": sum(found["opaque"] for found in statuses.values()),
        "short_coverage": {n: found["program"] / found.total() for n, found in statuses.items()},
        "changed": round((1 - summary["agreement"]) * summary["n"]),
        **{name: summary[name] for name in kept},
    }


def _check(report: Report, row: dict[str, Any]) -> None:
    opaque, changed, short = row["opaque"], row["changed"], row["short_coverage"]["conv1"]
    report.check(f"{NAME}: opaque units", opaque, "= 0", opaque == 0)
    report.check(f"{NAME}: short coverage of conv1", short, f">= {SHORT}", short >= SHORT)
    report.check(f"{NAME}: changed answers of 200", changed, f"<= {CHANGED}", changed <= CHANGED)
