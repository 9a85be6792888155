"""Reports in a real browser: how soon they stand there, whether they complain, and what they look
like.

`make bench NAME=pages` writes results/pages.json and pictures beside it; it exits 1 where a bar is
missed. It needs a Chromium on the PATH. `--data FOLDER` adds SqueezeNet's first layer, as
benchmarks/vision.py runs it.
"""

import argparse
import base64
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.report import RESULTS, Report  # noqa: E402  (the repository is not a package)
from benchmarks.timed import minutes_of  # noqa: E402
from benchmarks.vision import written_case  # noqa: E402
from synth.report.making import make_report  # noqa: E402
from tests.synth.browser import NAMES, Browser, browser, found  # noqa: E402

SECONDS = 3.0  # until a page stands there
WIDE, NARROW, HEIGHT = 1600, 400, 1000
OURS = "digits_cnn"
UNIT = "#unit/conv1_3"  # that is drawn where the probes may be shown to all


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--data", type=Path)
    given = options.parse_args()
    if found() is None:
        options.error(f"none of {', '.join(NAMES)} is on the PATH: install Debian's chromium")
    report = Report("pages", given.seed)
    with tempfile.TemporaryDirectory(prefix="pages-") as name:
        folder = Path(name)
        for network, config in _configs(folder, given.data, given.seed):
            run = folder / network
            minutes_of(config, run, given.jobs, given.seed)
            (page, *_), _ = make_report(run)
            with browser(folder / f"{network}-profile") as tab:
                _measure(report, network, tab, page)
    return report.finish()


def _configs(folder: Path, data: Path | None, seed: int) -> Iterator[tuple[str, Path]]:
    yield OURS, ROOT / "examples" / "digits_cnn.toml"
    if data is not None:
        yield "squeezenet", written_case(folder, data.absolute(), seed)


def _measure(report: Report, network: str, tab: Browser, page: Path) -> None:
    """Seconds and complaints of one page, and its pictures."""
    _size(tab, WIDE)
    start = time.perf_counter()
    tab.open(page)
    seconds = time.perf_counter() - start
    complaints = tab.complaints()
    asked = {url.partition("#")[0] for url in tab.requests()} - {page.as_uri(), "about:blank"}
    _picture(tab, f"report_{network}")
    if network == OURS:
        tab.open(page, UNIT)
        _picture(tab, f"report_{network}_unit")
        _size(tab, NARROW)
        tab.open(page)
        _picture(tab, f"report_{network}_narrow")
        complaints += tab.complaints()
    size = page.stat().st_size / 2**20
    row = {"network": network, "seconds": round(seconds, 2), "MiB": round(size, 2)}
    report.rows.append(row)
    report.check(f"{network}: seconds", round(seconds, 2), f"< {SECONDS:g}", seconds < SECONDS)
    report.check(f"{network}: complaints", len(complaints), "0", not complaints)
    report.check(f"{network}: requests that leave the page", len(asked), "0", not asked)


def _size(tab: Browser, width: int) -> None:
    size = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    tab.send("Emulation.setDeviceMetricsOverride", **size)


def _picture(tab: Browser, name: str) -> None:
    """What the window shows, under results/."""
    time.sleep(0.5)  # pictures are decoded when they come into sight
    shown = tab.send("Page.captureScreenshot", format="webp", quality=80)["data"]
    (RESULTS / f"{name}.webp").write_bytes(base64.b64decode(shown))


if __name__ == "__main__":
    sys.exit(main())
