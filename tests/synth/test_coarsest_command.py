"""`synth coarsest` as a user types it: a table, JSON, and one clear error each."""

import json
from fractions import Fraction

import numpy as np
import pytest
from small import CORE, IDENTITY, RELU, dense_evidence, dense_layer
from typed import Home

from synth.assembly import names_of
from synth.coarsest import UnitCoefficients, check_unit
from synth.errors import InputError
from synth.layers import Head
from synth.records import Records


def test_a_table(home: Home) -> None:
    """Each number of taps has its program and what is known of coarser grids; too few have one
    line."""
    done = home("coarsest", "results/net", "fc1_1")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "fc1_1, which reads 6 taps" in done.stdout and "relu(" in done.stdout
    assert "impossible: no program of" in done.stdout and "(or coarser)" in done.stdout
    assert "whatever its numbers" in done.stdout
    narrow = home("coarsest", "results/net", "fc1[1]", columns=100).stdout
    assert max(map(len, narrow.splitlines())) <= 100


def test_json(home: Home) -> None:
    """--json has the same rows: grids get coarser with more taps, and every bound is within ε."""
    done = home("coarsest", "results/net", "fc2_0", "--terms", "5", "--json")
    document = json.loads(done.stdout)
    epsilon = float(Fraction(document["epsilon"]))
    assert document["unit"] == "fc2_0" and document["taps"] <= 5
    found = [row for row in document["rows"] if row["verdict"] == "found"]
    steps = [Fraction(row["grid"]) for row in found]
    assert found and steps == sorted(steps) and all(row["bound"] <= epsilon for row in found)
    few = json.loads(home("coarsest", "results/net", "fc1_1", "--terms", "1", "--json").stdout)
    assert [row["verdict"] for row in few["rows"]] == ["impossible"]
    assert few["rows"][0]["trust"] == "checked"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["fc3_1"], "has no unit or layer 'fc3_1'"),
        (["fc1_9"], "layer 'fc1' has units 0 to 4"),
        (["fc1"], "'fc1' is a layer: name one of its units, as 'fc1_0'"),
        (["fc1_1", "--epsilon", "0"], "--epsilon 0.0: expected a finite number above 0"),
        (["fc1_1", "--epsilon", "nan"], "--epsilon nan: expected a finite number above 0"),
        (["fc1_1", "--terms", "0"], "--terms 0: expected a number of taps of at least 1"),
    ],
)
def test_bad_input(words: list[str], reason: str, home: Home) -> None:
    """An unknown unit, a layer or no taps is exit code 2 and one reason."""
    done = home("coarsest", "results/net", *words)
    assert done.exit_code == 2 and reason in done.stderr
    assert done.stderr.startswith("1 problem with the input:") and not done.stdout


def test_epsilon_can_be_given(home: Home) -> None:
    """A wider ε than the run's takes no finer a grid, and is what the table speaks of."""
    steps = []
    for epsilon in ("0.25", "4"):
        done = home("coarsest", "results/net", "fc2_0", "--epsilon", epsilon, "--json")
        document = json.loads(done.stdout)
        assert Fraction(document["epsilon"]) == Fraction(epsilon)
        found = [Fraction(r["grid"]) for r in document["rows"] if r["verdict"] == "found"]
        steps.append(max(found))
    assert steps[0] <= steps[1]


def test_a_folder_without_a_run(home: Home) -> None:
    """A folder that no run has finished in is one sentence, before anything is sought."""
    (home.folder / "empty").mkdir(exist_ok=True)
    done = home("coarsest", "empty", "fc1_1")
    assert done.exit_code == 2 and "empty holds no run" in done.stderr


def test_all_problems_at_once(home: Home) -> None:
    """Two mistakes are told in one message."""
    done = home("coarsest", "results/net", "fc9_1", "--terms", "-2")
    assert done.exit_code == 2 and done.stderr.startswith("2 problems")


def test_a_head_that_falls_is_named() -> None:
    """A gelu is refused with what to do; a relu is not."""
    layer = dense_layer([np.ones(2)] * 2, [0.0, 0.0], [Head("gelu"), RELU])
    with pytest.raises(InputError, match="fc1_0 has the head gelu, which falls somewhere"):
        check_unit(layer, 0, "fc1_0")
    check_unit(layer, 1, "fc1_1")


def test_a_planted_unit_ends_the_table_on_its_grid() -> None:
    """Three quarters and a half, without error: on the grid of quarters, with two taps."""
    layer = dense_layer([np.array([0.75, 0.0, -0.5])], [0.25], [IDENTITY])
    records = Records(names_of([layer], CORE), CORE)
    ranges = dense_evidence(layer).ranges
    rows = list(UnitCoefficients.of(ranges, 0, Fraction(0), CORE, records.text).rows())
    assert [row["verdict"] for row in rows] == ["impossible", "found"]
    assert (rows[1]["terms"], rows[1]["grid"]) == (2, "1/4")
    assert rows[1]["program"] == "0.75*input_1_0 - 0.5*input_1_2 + 0.25"
    assert "on a grid of 1/2 (or coarser)" in rows[1]["coarser"]
