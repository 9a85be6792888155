"""What a run says of its progress: now and then, with the time that is left."""

import pytest

from synth import progress as module
from synth.progress import Lines, Pace, Tally, duration


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    """There is at most a line in half a minute, with what is done, elapsed and left."""
    clock = Clock()
    tell = Lines(clock=clock)
    for done in range(101):
        tell("units", 100 + done, 400)
        clock.now += 2
    said = capsys.readouterr()
    lines = [line.partition(" ")[2] for line in said.err.splitlines()]
    assert said.out == "" and len(lines) == 6
    assert lines[0] == "units: 115 of 400, 30 s so far, about 9 min 30 s left"
    assert lines[-1] == "units: 190 of 400, 3 min 00 s so far, about 7 min 00 s left"


def test_a_count_without_an_end(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no end is known none is told."""
    clock = Clock()
    tell = Lines(clock=clock)
    tell("choice", 0, 0)
    clock.now += module.EVERY
    tell("choice", 7, 0)
    assert capsys.readouterr().err.endswith(" choice: 7, 30 s so far\n")


def test_known_units_say_nothing_of_the_pace() -> None:
    """Neither what was known nor getting ready for the first tells how long the rest takes."""
    pace = Pace(50, 0.0)
    assert pace.remaining(50, 100, 10.0) is None
    assert pace.remaining(52, 100, 100.0) is None
    assert pace.remaining(62, 100, 110.0) == pytest.approx(38.0)
    assert pace.remaining(100, 100, 150.0) == 0.0
    assert pace.remaining(62, 0, 110.0) is None
    assert pace.elapsed(150.0) == 150.0


def test_a_tally_counts_over_layers() -> None:
    """All layers count together, from what the store holds, and never beyond the total."""
    told: list[tuple[str, int, int]] = []
    tally = Tally(lambda *what: told.append(what), "units", 10, 4)
    for count in (3, 2, 9):
        tally.add(count)
    assert told == [("units", 4, 10), ("units", 7, 10), ("units", 9, 10), ("units", 10, 10)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float, text: str) -> None:
    """Seconds are told as a person would."""
    assert duration(seconds) == text
