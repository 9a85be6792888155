"""Corruptions of one unit: each takes the run and the certificate of conv1[0] (a relu)."""

import copy
from fractions import Fraction

import pytest
from certified import LABELS


def in_text(before, after):
    def corrupt(run, certificate):
        assert before in certificate["program"]
        certificate["program"] = certificate["program"].replace(before, after, 1)

    return corrupt


def text(program):
    def corrupt(run, certificate):
        certificate["program"] = program

    return corrupt


def put(key, value):
    def corrupt(run, certificate):
        certificate[key] = value

    return corrupt


def drop(key):
    def corrupt(run, certificate):
        del certificate[key]

    return corrupt


def shifted(key, by):
    def corrupt(run, certificate):
        certificate[key] = str(Fraction(certificate[key]) + by)

    return corrupt


def first_term(run, certificate, change):
    """Edit the first product of the program."""
    inner = certificate["program"].removeprefix("relu((")
    product, rest = inner.split(" + ", 1)
    certificate["program"] = f"relu(({change(product)} + {rest}"


def moved_coefficient(run, certificate):
    def change(product):
        number, tap = product.split("*")
        return f"{float(number) + 2**-40!r}*{tap}"

    first_term(run, certificate, change)


def dropped_term(run, certificate):
    first_term(run, certificate, lambda product: "0.0")


def doubled_term(run, certificate):
    first_term(run, certificate, lambda product: f"{product} + {product}")


def swapped_tap(run, certificate):
    first_term(run, certificate, lambda product: product.split("*")[0] + "*conv_3")


def bias_sign(run, certificate):
    program = certificate["program"]
    start = program.rindex(" + ")
    certificate["program"] = program[:start] + " - " + program[start + 3 :]


def multipliers(index, value):
    def corrupt(run, certificate):
        certificate["multipliers"][index] = value

    return corrupt


def other_multipliers(run, certificate):
    """Each is inside its interval, but gives another bound than the claimed one."""
    certificate["multipliers"] = ["1/3"] * 4


def swap_programs(run, certificate):
    other = run.unit("block.2[0]")
    certificate["program"], other["program"] = other["program"], certificate["program"]


def duplicate(run, certificate):
    run.document["certificates"].append(dict(certificate))


def epsilon_below(run, certificate):
    certificate["epsilon"] = str(Fraction(certificate["bound"]) - Fraction(1, 2**200))


def understated(run, certificate):
    bound = str(Fraction(certificate["bound"]) - Fraction(1, 2**80))
    certificate["bound"] = certificate["epsilon"] = bound


def both_heads(run, certificate):
    """A head swapped in the layer and in the certificate: then the bound is another."""
    head = {"op": "identity", "params": {}}
    certificate["head"] = run.document["layers"]["conv1"]["heads"][0] = head


OF_ONE_UNIT = {
    "coefficient moved by 2^-40": moved_coefficient,
    "term dropped": dropped_term,
    "term doubled": doubled_term,
    "tap swapped": swapped_tap,
    "bias sign": bias_sign,
    "multiplier above": multipliers(1, "1048577/1048576"),
    "multiplier below": multipliers(1, "-1/1048576"),
    "multiplier huge": multipliers(0, "9" * 3000),
    "multipliers others": other_multipliers,
    "multipliers three": put("multipliers", ["1", "1", "1"]),
    "multipliers five": put("multipliers", ["1"] * 5),
    "multipliers no list": put("multipliers", 1),
    "multiplier no text": multipliers(2, 0.5),
    "multiplier decimal": multipliers(2, "0.5"),
    "multiplier exponent": multipliers(2, "1e999999999"),
    "multiplier over zero": multipliers(2, "1/0"),
    "bound understated": understated,
    "bound overstated": shifted("bound", Fraction(1, 2**90)),
    "bound as float": put("bound", 0.1),
    "bound nan": put("bound", "nan"),
    "bound missing": drop("bound"),
    "epsilon below the bound": epsilon_below,
    "epsilon negative": put("epsilon", "-1/2"),
    "epsilon infinite": put("epsilon", "Infinity"),
    "epsilon null": put("epsilon", None),
    "head swapped": put("head", {"op": "identity", "params": {}}),
    "head swapped everywhere": both_heads,
    "head unknown": put("head", {"op": "gelu", "params": {}}),
    "head with a parameter": put("head", {"op": "relu", "params": {"slope": 0.0}}),
    "head no object": put("head", "relu"),
    "program head swapped": in_text("relu(", "abs("),
    "program head dropped": in_text("relu", ""),
    "program head negated": in_text("relu(", "-relu("),
    "program head inside": in_text("relu(", "relu(relu(conv_0) + "),
    "program head of two": in_text("relu(", "relu(1, "),
    "program head by attribute": in_text("relu(", "math.relu("),
    "program head with keyword": in_text("relu(", "relu(low=0, *"),
    "program of another unit": swap_programs,
    "program empty": text(""),
    "program constant": text("0.25"),
    "program infinite": text("relu(1e999)"),
    "program nan": text("relu(nan)"),
    "program complex": text("relu(1j*conv_0)"),
    "program of a bool": text("relu(True*conv_0)"),
    "program of a string": text("relu('0.5'*conv_0)"),
    "program bilinear": text("relu(conv_0*conv_1)"),
    "program quotient": text("relu(conv_0/2)"),
    "program power": text("relu(2**9999999*conv_0)"),
    "program huge integer": text("relu(" + "9" * 400 + "*conv_0)"),
    "program integer beyond floats": text(f"relu({2**53 + 1}*conv_0)"),
    "program too long an integer": text("relu(" + "9" * 9000 + "*conv_0)"),
    "program with an import": text("__import__('os').system('true')"),
    "program with a lambda": text("(lambda: conv_0)()"),
    "program with a walrus": text("(conv_0 := 1)"),
    "program with a statement": text("import os"),
    "program with a null": text("relu(conv_0\0)"),
    "program with a comment": text("relu(conv_0"),
    "program nested too deep": text("(" * 5000 + "conv_0" + ")" * 5000),
    "program of signs": text("relu(" + "-" * 100_000 + "conv_0)"),
    "program too long a chain": text("relu(" + " + ".join(["conv_0"] * 50_000) + ")"),
    "program no text": put("program", 7),
    "name unknown": in_text("conv_0", "conv_9"),
    "name of a sibling": in_text("conv_0", "pre(conv_0)"),
    "offset unknown": in_text("dy=-1", "dy=-2"),
    "offset not stated": in_text("dx=2", "dx=1"),
    "offset fractional": in_text("dx=2", "dx=1.5"),
    "offset text": in_text("dx=2", "dx='2'"),
    "offset twice": in_text("dx=2", "dx=2, dx=2"),
    "offset unpacked": in_text("dx=2", "**dx"),
    "offset keyword unknown": in_text("dx=2", "dz=2"),
    "shift of a shift": in_text("shift(conv_0", "shift(shift(conv_0, dy=1)"),
    "shift without a tap": in_text("shift(conv_0", "shift(1.0"),
    "named otherwise": put("unit", "conv1[1]"),
    "unit missing": drop("unit"),
    "channel missing": drop("channel"),
    "second certificate": duplicate,
}


@pytest.mark.parametrize("name", OF_ONE_UNIT)
def test_a_corrupted_certificate_is_rejected_alone(run, tmp_path, name):
    """The corrupted unit is rejected with a reason that names it; all untouched ones pass."""
    OF_ONE_UNIT[name](run, run.document["certificates"][0])
    report = run.check(tmp_path)
    rejected = dict(report.rejected)
    touched = {"conv1[0]", "block.2[0]"} if name == "program of another unit" else {"conv1[0]"}
    assert set(rejected) == ({"certificate 0"} if name == "channel missing" else touched)
    assert all(len(reason) > 10 for reason in rejected.values())
    survivors = {"conv1[0]"} if name == "second certificate" else set()
    assert set(report.accepted) == set(LABELS) - touched | survivors


@pytest.mark.parametrize("label", LABELS)
def test_mutants_of_every_head_are_rejected(run, tmp_path, label):
    """For every head: a bound less by 2^-60, another weight and another head are all caught."""
    clean = run.unit(label)
    mutants = []
    for change in ("bound", "program", "head"):
        mutant = copy.deepcopy(run)
        certificate = mutant.unit(label)
        if change == "bound":
            certificate["bound"] = str(Fraction(clean["bound"]) - Fraction(1, 2**60))
        elif change == "program":
            certificate["program"] = clean["program"].replace("conv_1", "conv_2", 1)
        else:
            certificate["head"] = {"op": "clip", "params": {"low": 0.0, "high": 1.0}}
        mutants.append(mutant.check(tmp_path))
    assert [[unit for unit, _ in report.rejected] for report in mutants] == [[label]] * 3
