"""Names are identifiers, one to one, and say where a channel is from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_programs import core

from grammars.names import Names, identifier
from grammars.parser import parse_program
from grammars.program import tap
from grammars.text import format_program

PATHS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.dictionaries(PATHS, st.integers(0, 5), max_size=6))
def test_names_are_one_to_one(banks) -> None:
    """Any module paths: every channel has its own identifier, and leads back to its tap."""
    names = Names(banks, reserved=core())
    keys = [(bank, channel) for bank, count in banks.items() for channel in range(count)]
    found = [names.of(*key) for key in keys]
    assert len(set(found)) == len(keys) == len(list(names))
    assert all(name.isidentifier() for name in found)
    assert [names.tap(name) for name in found] == keys


@given(PATHS)
def test_identifiers_of_paths(path: str) -> None:
    """Any path, empty, with digits, keywords or foreign letters, gives a Python identifier."""
    assert identifier(path).isidentifier()
    assert identifier(path).isascii()


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("features.0", "features_0"),
        ("0", "m0"),
        ("", "bank"),
        ("lambda", "lambda_"),
        ("conv1@2", "conv1_2"),
        ("größe", "gr__e"),
    ],
)
def test_identifier_of(path: str, wanted: str) -> None:
    """The identifiers of typical module paths."""
    assert identifier(path) == wanted


def test_clashing_banks_are_kept_apart() -> None:
    """Banks whose identifiers clash, or whose channels would, get a number."""
    names = Names({"a.b": 2, "a_b": 2, "a_b.1": 2, "a-b": 1})
    assert [names.of(bank, 0) for bank in ("a.b", "a_b", "a_b.1", "a-b")] == [
        "a_b_0",
        "a_b_b2_0",
        "a_b_1_b2_0",
        "a_b_b3_0",
    ]


@given(st.lists(st.sampled_from(["conv", "conv_1", "conv.1", "conv_1_2", "max", "max_pool"])))
def test_no_name_is_a_primitive(paths) -> None:
    """No channel is named like a primitive, whatever the banks are called."""
    names = Names(dict.fromkeys(paths, 3), reserved=core())
    assert not set(names) & set(core())


def test_given_names_override() -> None:
    """A person's names replace the default ones and print and parse."""
    names = Names({"conv1": 3}, given={("conv1", 1): "curve_détecteur"})
    node = tap("conv1", 1, 0, 1)
    assert format_program(node, names, core()) == "shift(curve_détecteur, dx=1)"
    assert parse_program("shift(curve_détecteur, dx=1)", names, core()) == node
    assert names.tap("conv1_1") is None


@pytest.mark.parametrize(
    ("given_name", "fragment"),
    [
        ("conv1_0", "share the name 'conv1_0'"),
        ("relu", "it is the name of a primitive"),
        ("a b", "expected a Python identifier"),
        ("lambda", "expected a Python identifier"),
        ("", "expected a Python identifier"),
        ("ﬁlter", "expected a Python identifier"),  # Python reads the ligature as f and i
    ],
)
def test_bad_names_are_refused(given_name: str, fragment: str) -> None:
    """A name that another tap has, a primitive's or no identifier is refused, and quoted."""
    with pytest.raises(ValueError, match="conv1") as caught:
        Names({"conv1": 2}, given={("conv1", 1): given_name}, reserved=core())
    assert fragment in str(caught.value)


def test_unknown_channels_are_named() -> None:
    """Asking for a channel beyond the bank says which."""
    with pytest.raises(KeyError, match="channel 7"):
        Names({"conv1": 2}).of("conv1", 7)
