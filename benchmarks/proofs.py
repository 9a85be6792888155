"""What proofs are worth: sections of checks, each in a module of its own.

`make bench NAME=proofs` prints the tables and writes results/proofs.json; it exits 1 where a bar is
missed. `--only NAME` runs one section and writes results/proofs_NAME.json, `--part 0.05` does a
twentieth of the cases. `--data FOLDER` holds data/ and nets/ of the sections that read networks of
others; a section whose files are missing says so, and fails.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import (  # noqa: E402
    proofs_groups,
    proofs_mutants,
    proofs_networks,
    proofs_shares,
    proofs_units,
)
from benchmarks.report import Report  # noqa: E402
from benchmarks.sections import Given, Measured  # noqa: E402

SECTIONS: dict[str, Callable[[Given], Measured]] = {
    "units": proofs_units.measure,
    "mutants": proofs_mutants.measure,
    "groups": proofs_groups.measure,
    "shares": proofs_shares.measure,
    "sixteen_bits": proofs_networks.sixteen_bits,
    "ours": proofs_networks.ours,
}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared")
    options.add_argument("--part", type=float, default=1.0)
    options.add_argument("--only", choices=SECTIONS)
    given = options.parse_args()
    if not 0 < given.part <= 1:
        options.error(f"--part {given.part} is no share of the cases: above 0, and 1 at most")
    report = Report(f"proofs_{given.only}" if given.only else "proofs", given.seed)
    asked = Given(given.seed, given.jobs, given.data.absolute(), given.part)
    for name in [given.only] if given.only else SECTIONS:
        rows, checks = SECTIONS[name](asked)
        report.rows += rows
        report.checks += checks
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
