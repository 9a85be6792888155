"""Check the certificates of a run folder: `python checker.py RUN_FOLDER`.

Standard library only, exact arithmetic; certificate.py has the format. A unit and its program, read
from its text, are max(lo·a, hi·a) of affine maps a and a'. For m in [lo, hi] of the program, m·a'
never exceeds it: so unit − program is at most the larger, over s in {lo, hi} of the unit, of max
over the layer's box of s·a − m·a'; and so the other way round: four multipliers m. The bound must
be exactly the claimed one. Certificates for heads of other forms are left to cover_checker.py.
"""

import ast
import hashlib
import json
import math
import struct
import sys
from collections import namedtuple
from fractions import Fraction
from pathlib import Path

ONE = Fraction(1)
PARAMETERS = {"leaky_relu": ["slope"], "prelu": ["slope"], "clip": ["high", "low"]}
LEAST_SLOPE = {"identity": ONE, "relu": Fraction(0), "abs": -ONE}
OTHERS = "sigmoid", "tanh", "silu", "gelu", "hardsigmoid", "hardswish"
PARAMETERS |= {op: [] for op in (*LEAST_SLOPE, *OTHERS)}
Report = namedtuple("Report", ["accepted", "rejected"])  # names of units; (unit, reason) pairs


def need(condition, reason):
    if not condition:
        raise ValueError(reason)


def unique(pairs):
    need(len(dict(pairs)) == len(pairs), "a key is stated twice")
    return dict(pairs)


def fraction(text):
    above, _, below = text.partition("/")  # not Fraction(text): that expands "1e999999999"
    return Fraction(int(above), int(below or 1))


def number(value):
    need(type(value) in (int, float) and float(value) == value, f"{value!r} is not a float64")
    return Fraction(value)  # raises for an infinity


def integers(values):
    """Fractions as integers over one denominator."""
    common = math.lcm(*(value.denominator for value in values))
    return [value.numerator * (common // value.denominator) for value in values], common


def head(op, params):
    """(op, params, slopes): the slopes (lo, hi) of a head max(lo·a, hi·a), or None."""
    params = {name: number(value) for name, value in params.items()}
    need(PARAMETERS.get(op) == sorted(params), f"no head {op} of {sorted(params)}")
    need(params.get("low", 0) <= params.get("high", 0), "clip with low above high")
    least = params.get("slope", LEAST_SLOPE.get(op, 2))
    return op, params, (least, ONE) if least <= 1 else None


def read_program(text):
    """(head, {(identifier, dy, dx): coefficient}, bias) of a program's text."""
    outer, node = head("identity", {}), ast.parse(text.strip(), mode="eval").body
    match node:
        case ast.Call(func=ast.Name(id=op), args=[inner]) if op != "shift":
            params = unique([(word.arg, ast.literal_eval(word.value)) for word in node.keywords])
            outer, node = head(op, params), inner
    taps, bias, stack = {}, Fraction(0), [(ONE, node)]
    while stack:  # a stack, because long sums are deep trees
        factor, node = stack.pop()
        match node:
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                stack.append((-factor, inner))
            case ast.BinOp(op=ast.Add() | ast.Sub() as sign, left=left, right=right):
                stack += [(factor, left), (-factor if isinstance(sign, ast.Sub) else factor, right)]
            case ast.BinOp(op=ast.Mult(), left=left, right=right):
                reads = any(isinstance(part, ast.Name) for part in ast.walk(left))
                scale, rest = (right, left) if reads else (left, right)
                stack.append((factor * number(ast.literal_eval(scale)), rest))
            case ast.Constant(value=value):
                bias += factor * number(value)
            case ast.Name(id=name) | ast.Call(func=ast.Name(id="shift"), args=[ast.Name(id=name)]):
                words = getattr(node, "keywords", [])
                offset = unique([(word.arg, ast.literal_eval(word.value)) for word in words])
                need(offset.keys() <= {"dy", "dx"}, f"shift with {[*offset]}")
                key = name, number(offset.get("dy", 0)), number(offset.get("dx", 0))
                taps[key] = taps.get(key, 0) + factor
            case _:
                raise ValueError(f"{ast.unparse(node)[:60]!r} is neither a tap nor a sum of them")
    return outer, taps, bias


def read(tensors, name, dtype, shape, first, count):
    """`count` finite numbers of a tensor, from position `first`."""
    (data, header, base), (width, code) = tensors, {"F32": (4, "f"), "F64": (8, "d")}[dtype]
    start, end = header[name]["data_offsets"]
    need([header[name]["dtype"], header[name]["shape"]] == [dtype, shape], f"odd type of {name}")
    sound = 0 <= start == end - width * math.prod(shape) and end <= len(data) - base
    need(sound and 0 <= first <= math.prod(shape) - count, f"{name} is truncated")
    return [*map(number, struct.unpack_from(f"<{count}{code}", data, base + start + width * first))]


class Layer:
    def __init__(self, name, entry, tensors):
        self.name, self.names, self.tensors = name, entry["names"], tensors
        self.heads = [head(**one) for one in entry["heads"]]
        places = [(number(dy), number(dx)) for dy in entry["rows"] for dx in entry["columns"]]
        self.place = {place: position for position, place in enumerate(places)}
        self.channels, n = entry["channels"], entry["channels"] * len(places)
        need(type(n) is int and n > 0 and len(self.place) == len(places), "odd channels or offsets")
        ends = [read(tensors, f"{name}.{end}", "F64", [n], 0, n) for end in ("lower", "upper")]
        whole, self.common = integers(ends[0] + ends[1])
        self.box = list(zip(whole[:n], whole[n:], strict=True))
        need(all(low <= high for low, high in self.box), "the box has lower above upper")

    def unit(self, channel):
        """(integer weights, their denominator, bias) of a unit."""
        need(type(channel) is int and 0 <= channel < len(self.heads), f"no unit {channel!r}")
        units, n = len(self.heads), len(self.box)
        row = read(self.tensors, f"{self.name}.weight", "F32", [units, n], channel * n, n)
        return *integers(row), *read(self.tensors, f"{self.name}.bias", "F32", [units], channel, 1)

    def program(self, taps, bias):
        """The same of a program, its weights in the order of the unit's columns."""
        weights = [Fraction(0)] * len(self.box)
        for (name, dy, dx), factor in taps.items():
            channel, place = self.names.get(name), self.place.get((dy, dx), -1)
            need(place >= 0 and channel in range(self.channels), f"no tap {name!r} at {dy}, {dx}")
            weights[channel * len(self.place) + place] += factor
        return *integers(weights), bias

    def largest(self, s, outer, m, inner):
        """The maximum over the box of s·outer − m·inner, both affine."""
        (w, w_common, b), (q, q_common, c) = outer, inner
        (p, r), common = integers([s / w_common, m / q_common])
        slopes = [p * wi - r * qi for wi, qi in zip(w, q, strict=True)]
        total = sum(v * ends[v > 0] for v, ends in zip(slopes, self.box, strict=True))
        return Fraction(total, common * self.common) + s * b - m * c

    def bound(self, unit, program, certificate):
        """A bound of |unit − program| over the box; each is ((op, params, slopes), affine map)."""
        ((*_, spans), a), ((*_, its_spans), b), parts = unit, program, []
        need(spans and its_spans, "multipliers say nothing of heads without two slopes")
        problems = [(s, a, b, *its_spans) for s in spans] + [(s, b, a, *spans) for s in its_spans]
        for problem, m in zip(problems, map(fraction, certificate["multipliers"]), strict=True):
            s, outer, inner, lo, hi = problem
            need(lo <= m <= hi, f"multiplier {m} is outside [{lo}, {hi}]")
            parts.append(self.largest(s, outer, m, inner))
        return max(parts)

    def check(self, certificate):
        unit = self.heads[certificate["channel"]], self.unit(certificate["channel"])
        need(head(**certificate["head"]) == unit[0], "the head is not that of the layer")
        program, taps, bias = read_program(certificate["program"])
        bound = self.bound(unit, (program, self.program(taps, bias)), certificate)
        claimed, epsilon = certificate["bound"], certificate["epsilon"]
        need(bound == fraction(claimed), f"the bound {float(bound)} is not exactly {claimed}")
        need(bound <= fraction(epsilon), f"the bound {float(bound)} is above epsilon {epsilon}")


def check(folder: Path, kind: type = Layer) -> Report:
    """Check all certificates of a folder; whatever is malformed is rejected, with a reason."""
    report, layers, seen, label = Report([], []), {}, set(), "certificates.json"
    try:
        document = json.loads((Path(folder) / label).read_bytes(), object_pairs_hook=unique)
        certificates, label = list(document["certificates"]), "units.safetensors"
        data = (Path(folder) / label).read_bytes()
        stated = [1, "real", {label: hashlib.sha256(data).hexdigest()}]
        need([*map(document.get, ("format", "semantics", "files"))] == stated, f"not {stated}")
        base = 8 + struct.unpack_from("<Q", data)[0]
        tensors = data, json.loads(data[8:base], object_pairs_hook=unique), base
    except Exception as error:
        return Report([], [(label, f"{type(error).__name__}: {error}")])
    for position, certificate in enumerate(certificates):
        label = f"certificate {position}"
        try:
            name, label = certificate["layer"], certificate["layer"] + f"[{certificate['channel']}]"
            need(certificate["unit"] == label, f"it names its unit {certificate['unit']!r}")
            need(label not in seen, "a second certificate of one unit")
            seen.add(label)
            if "covers" not in certificate or kind is not Layer:
                layers[name] = layers.get(name) or kind(name, document["layers"][name], tensors)
                layers[name].check(certificate)
                report.accepted.append(label)
        except Exception as error:
            report.rejected.append((label, f"{type(error).__name__}: {error}"))
    return report


def print_and_exit(report, judged=""):
    lines = [f"REJECTED {unit}: {reason}" for unit, reason in report.rejected]
    print(*lines, f"{len(report.accepted)} accepted, {len(lines)} rejected{judged}", sep="\n")
    sys.exit(bool(lines))


if __name__ == "__main__":
    print_and_exit(check(Path(sys.argv[1])), " of those without covers")
