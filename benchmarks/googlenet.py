"""GoogLeNet at 224 × 224 as a whole: minutes and gigabytes of a run on two cores.

`make bench NAME=googlenet` writes results/googlenet.json; it exits 1 where a bar is missed.

The network has random weights; its images are 1/f noise, as photographs have. Its batch norms are
set on such images, so that activations keep their size through its 22 layers.
"""

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.report import Report  # noqa: E402  (the repository is not a package)
from benchmarks.timed import timed_run  # noqa: E402

MINUTES, GIGABYTES = 60, 8
IMAGES = 500


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--jobs", type=int, default=2)
    given = options.parse_args()
    report = Report("googlenet", given.seed)
    case = f"""
        from benchmarks.networks import googlenet
        network, inputs = googlenet.network, partial(googlenet.images, {IMAGES}, {given.seed})
    """
    few = "[search]\npatches_per_weight = 0.2\n"  # of its last layer, with one patch an image
    with tempfile.TemporaryDirectory(prefix="googlenet-") as name:
        row = timed_run(Path(name) / "googlenet", case, given.jobs, few)
    report.rows.append({"network": "GoogLeNet, 224 x 224, random weights"} | row)
    minutes, memory = row["seconds"] / 60, row["peak_gib"] * 2**30 / 1e9
    report.check("minutes", minutes, f"<= {MINUTES}", minutes <= MINUTES)
    report.check("gigabytes", memory, f"<= {GIGABYTES}", memory <= GIGABYTES)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
