"""The whole chain on two digits networks; planted truths, corrupted certificates, killed runs.

What is left of the networks in how many bits is measured by `benchmarks/networks.py`.
`make bench NAME=digits` prints the tables and writes results/digits.json; it exits 1 where a bar is
missed. Takes about ten minutes on two cores.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.corruptions import CORRUPT  # noqa: E402  (the repository is not a package)
from benchmarks.planted import recover  # noqa: E402
from benchmarks.report import Report  # noqa: E402
from oracles.cover_checker import check_all  # noqa: E402
from synth.folder import RESULT_FILES  # noqa: E402

NETWORKS = ("digits_mlp100", "digits_cnn")
KILLS = 10
CORRUPTIONS = 50
FIGURES = (
    *("verdict", "n", "bits", "bits_original", "bits_share", "bits_original_entropy"),
    *("bits_shuffled_control", "short_coverage_units", "units", "terms"),
    *("accuracy_original", "accuracy_replaced", "accuracy_change", "accuracy_change_interval"),
    *("agreement", "kl_mean", "recovered_mean", "recovered_resample", "controls"),
    *("accepted_programs", "dead", "proved", "refuted", "unknown", "smt_checked", "bound_over_std"),
    *("fvu_local", "fvu_in_situ", "held_out_outside_envelope"),
)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--jobs", type=int, default=2)
    given = options.parse_args()
    report = Report("digits", given.seed)
    with tempfile.TemporaryDirectory(prefix="digits-") as name:
        folder = Path(name)
        for network in NETWORKS:
            _network(report, network, folder / network, given.jobs)
            _certificates(report, network, folder / network, given.seed)
        loose = ("--set", "accept.max_kl=0.01", "--set", "accept.min_agreement=0.99")
        name = f"{NETWORKS[0]} at the default acceptance"
        _measured(report, name, NETWORKS[0], folder / "loose", "--jobs", str(given.jobs), *loose)
        _planted(report, folder / "planted", given.seed, given.jobs)
        _same_bytes(report, folder, given.seed, given.jobs)
    return report.finish()


def _measured(report: Report, name: str, network: str, out: Path, *more: str) -> None:
    """Run a network into a folder and add its row."""
    start = time.perf_counter()
    _synth(network, out, *more).wait()
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    seconds = round(time.perf_counter() - start, 1)
    report.rows.append({"network": name, "seconds": seconds} | {k: summary[k] for k in FIGURES})


def _network(report: Report, network: str, out: Path, jobs: int) -> None:
    _measured(report, network, network, out, "--jobs", str(jobs))
    units = json.loads((out / "programs.json").read_text(encoding="utf-8"))["units"]
    accepted = [u for u in units if u["status"] in ("program", "rounded")]
    checked = sum(u.get("trust") == "checked" for u in accepted)
    smt = sum(u["smt_checked"] for u in accepted)

    def bar(what: str, value: int) -> None:
        whole = len(accepted)
        report.check(f"{network}: accepted programs {what}", value, str(whole), value == whole)

    bar("proved, checked", checked)
    bar("smt_checked", smt)


def _certificates(report: Report, network: str, run: Path, seed: int) -> None:
    """The checker accepts what the run wrote, and none of fifty corruptions of it."""
    honest = check_all(run)
    total = len(honest.accepted) + len(honest.rejected)
    accepted = len(honest.accepted)
    report.check(f"{network}: certificates accepted", accepted, str(total), accepted == total)
    path, generator = run / "certificates.json", random.Random(seed)
    text = path.read_text(encoding="utf-8")
    rejected = 0
    for number in range(CORRUPTIONS):
        document = json.loads(text)
        live = [c for c in document["certificates"] if "*" in c["program"]]
        victim = generator.choice(live)
        unit = victim["unit"]
        CORRUPT[number % len(CORRUPT)](victim, live)
        path.write_text(json.dumps(document), encoding="utf-8")
        rejected += unit not in check_all(run).accepted
    path.write_text(text, encoding="utf-8")
    name, holds = f"{network}: corrupted certificates rejected", rejected == CORRUPTIONS
    report.check(name, rejected, str(CORRUPTIONS), holds)


def _planted(report: Report, folder: Path, seed: int, jobs: int) -> None:
    planted, misses = recover(folder, seed=seed, jobs=jobs)
    found = len(planted) - len(misses)
    report.rows.append({"network": "planted", "programs": len(planted), "misses": misses})
    report.check("planted programs that come back exactly", found, ">= 39 of 40", found >= 39)


def _same_bytes(report: Report, folder: Path, seed: int, jobs: int) -> None:
    """One job, and a run killed at ten random moments, against the run of the table."""
    network = NETWORKS[0]
    wanted = _contents(folder / network)
    start = time.perf_counter()
    _synth(network, folder / "single", "--jobs", "1").wait()
    wall = time.perf_counter() - start
    single = _differing(wanted, _contents(folder / "single"))
    report.check("files in which --jobs 1 and --jobs 2 differ", single, "none", single == "none")
    generator, killed, kills = random.Random(seed), folder / "killed", 0
    while kills < KILLS:
        process = _synth(network, killed, "--jobs", str(jobs))
        try:
            process.wait(timeout=generator.uniform(0.02, 0.3) * wall)
            shutil.rmtree(killed)  # it finished first: start over
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    _synth(network, killed, "--jobs", str(jobs)).wait()
    differing = _differing(wanted, _contents(killed))
    name = f"files in which a run killed {kills} times and resumed differs"
    report.check(name, differing, "none", differing == "none")


def _synth(network: str, out: Path, *more: str) -> "subprocess.Popen[bytes]":
    config = ROOT / "examples" / f"{network}.toml"
    arguments = ["run", str(config), "--out", str(out), "--quiet", *more]
    return subprocess.Popen([sys.executable, "-m", "synth", *arguments])


def _contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in RESULT_FILES}


def _differing(a: dict[str, bytes], b: dict[str, bytes]) -> str:
    return ", ".join(name for name in a if a[name] != b[name]) or "none"


if __name__ == "__main__":
    raise SystemExit(main())
