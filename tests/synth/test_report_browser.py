"""The report in a real browser: it draws, sorts, filters and answers to the keyboard, and neither
complains nor asks for anything."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import browser as driven
import pytest
from reports import HOSTILE, spoil
from typed import Home

from synth.folder import open_run
from synth.report.document import document_of
from synth.report.page import write_report

pytestmark = pytest.mark.skipif(
    driven.found() is None, reason=f"no browser: none of {', '.join(driven.NAMES)} is on the PATH"
)

NAMES = "[...document.querySelectorAll('table.units td.of-name')].map((c) => c.textContent)"
FIGURES = (
    "[...document.querySelectorAll('table.units td.of-bits')].map((c) => Number(c.textContent))"
)

DRAWN = """[...document.querySelectorAll('canvas')].slice(0, 2).every((canvas) =>
    canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean))"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[driven.Browser]:
    with driven.browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def page(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the tiny network."""
    return _report(home, tmp_path_factory.mktemp("browsed"))


@pytest.fixture(scope="module")
def pictures(seeing: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the network that reads images."""
    return _report(seeing, tmp_path_factory.mktemp("browsed"))


def _report(home: Home, folder: Path) -> Path:
    run = folder / "net"
    shutil.copytree(home.folder / "results" / "net", run)
    assert home("report", run).exit_code == 0
    return run / "report.html"


@pytest.mark.parametrize(
    "fragment", ["", "#layer/fc1", "#unit/fc2_1", "#unit/fc1[3]", "#unit/none"]
)
def test_no_complaint_and_no_request(tab: driven.Browser, page: Path, fragment: str) -> None:
    """Every kind of page opens by its address; the file alone is read."""
    tab.open(page, fragment)
    assert tab.complaints() == []
    assert {url.partition("#")[0] for url in tab.requests()} <= {page.as_uri(), "about:blank"}
    title = {"": "net", "#layer/fc1": "fc1", "#unit/fc2_1": "fc2_1", "#unit/fc1[3]": "fc1_3"}
    assert tab.value("document.querySelector('h1').firstChild.textContent") == title.get(
        fragment, "Not found"
    )


def test_the_page_may_not_connect(tab: driven.Browser, page: Path) -> None:
    """Code in it could not ask for anything, nor add code: its policy says so."""
    tab.open(page)
    asked = "fetch('https://example.org/').then(() => 'answered', () => 'refused')"
    assert tab.value(asked) == "refused"
    added = (
        "document.body.append(Object.assign(document.createElement('script'), {text: 'ran = 1'}))"
    )
    tab.value(added)
    assert tab.value("typeof ran") == "undefined"


def test_the_table_sorts_and_filters(tab: driven.Browser, page: Path) -> None:
    """By a click on a heading, down by a second one; by words, and by status."""
    tab.open(page, "#layer/fc1")
    assert tab.value(NAMES) == [f"fc1_{i}" for i in range(5)]
    heads = "[...document.querySelectorAll('table.units th button')]"
    click = f"{heads}.find((b) => b.textContent === 'bits').click()"
    tab.value(click)
    rising = tab.value(FIGURES)
    assert rising == sorted(rising)
    tab.value(click)
    assert tab.value(FIGURES) == sorted(rising, reverse=True)
    assert tab.value("document.querySelector('th[aria-sort=descending]').textContent") == "bits"
    tab.value(
        "(() => { const f = document.getElementById('filter'); f.value = 'FC1_3';"
        " f.dispatchEvent(new Event('input')); })()"
    )
    assert tab.value(NAMES) == ["fc1_3"]
    assert tab.value("document.querySelector('.count').textContent") == "1 of 5 units"


def test_the_keyboard(tab: driven.Browser, page: Path) -> None:
    """j goes to the next unit, u up to the layer, and / to the field that finds a unit."""
    tab.open(page, "#unit/fc1_0")
    _press(tab, "j", "#unit/fc1_1")
    _press(tab, "k", "#unit/fc1_0")
    _press(tab, "u", "#layer/fc1")
    tab.send("Input.dispatchKeyEvent", type="keyDown", key="/", text="/")
    assert tab.value("document.activeElement.id") == "find"
    tab.send("Input.insertText", text="fc2_2")
    _press(tab, "Enter", "#unit/fc2_2")
    assert tab.value("document.activeElement.id") == "main"


def _press(tab: driven.Browser, key: str, leads_to: str) -> None:
    text = "\r" if key == "Enter" else key
    tab.send("Input.dispatchKeyEvent", type="keyDown", key=key, text=text, code=key)
    tab.wait(f"document.documentElement.dataset.shown === {leads_to!r}")


@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("fragment", ["", "#layer/conv1", "#unit/conv1_0", "#unit/out_0"])
def test_nothing_stands_out(tab: driven.Browser, pictures: Path, fragment: str, width: int) -> None:
    """On a narrow and on a wide screen the page is no wider than the screen, and canvases that are
    on it are drawn."""
    size = {"width": width, "height": 2000, "deviceScaleFactor": 1, "mobile": False}
    tab.send("Emulation.setDeviceMetricsOverride", **size)
    tab.open(pictures, fragment)
    assert tab.complaints() == []
    assert tab.value("document.documentElement.scrollWidth") <= width
    if width == 1600:
        cut = "[...document.querySelectorAll('.wide')].filter((e) => e.scrollWidth > e.clientWidth)"
        assert tab.value(f"{cut}.length") == 0
    tab.wait(DRAWN)
    if fragment.endswith(("conv1", "conv1_0")):
        assert tab.value("document.querySelectorAll('canvas').length") >= 3


def test_hostile_names_do_not_run(tab: driven.Browser, copied: Home) -> None:
    """A layer called like code is shown by its name, opened by it, and nothing of it runs."""
    spoil(copied.folder / "run")
    assert copied("report", "run", "--no-probes").exit_code == 0
    page = copied.folder / "run" / "report.html"
    tab.open(page)
    assert tab.value("document.querySelector('header nav a').textContent") == HOSTILE
    tab.value("document.querySelector('header nav a').click()")
    tab.wait("document.querySelector('h1').textContent.startsWith('</script>')")
    tab.value("document.querySelector('table.units a').click()")
    tab.wait("document.querySelector('pre') !== null")
    assert tab.value("document.querySelector('pre').textContent.length") > 10_000
    assert tab.value("typeof window.ran") == "undefined"
    assert tab.value("document.querySelectorAll('main script, main img').length") == 0
    assert tab.complaints() == []


def test_a_report_in_parts(tab: driven.Browser, page: Path, tmp_path: Path) -> None:
    """The index leads to the file of a layer, and a unit there to one of another file."""
    first, *_ = write_report(document_of(open_run(page.parent)), tmp_path, largest=1000)
    tab.open(first)
    tab.value("document.querySelectorAll('header nav a')[1].click()")
    tab.wait("document.querySelector('h1')?.textContent === 'fc2'")
    assert tab.value("location.pathname").endswith("report_2.html")
    tab.open(tmp_path / "report_2.html", "#unit/fc2_0")
    tab.value("document.querySelector('.program a').click()")
    tab.wait(
        "location.pathname.endsWith('report_1.html') && Boolean(document.querySelector('pre'))"
    )
    assert tab.complaints() == []


def test_a_run_that_was_cut_off_opens(tab: driven.Browser, copied: Home) -> None:
    """Its page has units with fronts."""
    (copied.folder / "run" / "summary.json").unlink()
    assert copied("report", "run").exit_code == 0
    page = copied.folder / "run" / "report.html"
    for fragment in ("", "#layer/fc1", "#unit/fc1[2]"):
        tab.open(page, fragment)
        assert tab.complaints() == []
    assert tab.value("document.querySelectorAll('.front li').length") > 3
