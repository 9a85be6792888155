"""The checks of the contract: each takes a case and says what is wrong with it, or None.

A check raises Unsupported where the interpreter has no meaning for the program; any other exception
is the body's.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grammars.coding import LayerSource, decode, encode
from grammars.evaluation import evaluate
from grammars.hoist import ROWS, hoist
from grammars.interpreters.affine import Affine, AffineAlgebra, NotAffine
from grammars.interpreters.rational import RationalAlgebra
from grammars.interpreters.text import HELPERS, TextAlgebra
from grammars.interpreters.torch import TorchAlgebra
from grammars.parser import parse_program
from grammars.primitive import Transcendental
from grammars.program import Node, Sort, leaves, linear, tap, taps_of
from grammars.scope import Scope
from grammars.text import format_program
from oracles.contract_cases import POINTS, Case, as_array
from oracles.interval import IntervalAlgebra
from oracles.slopes import lipschitz, slopes
from oracles.z3_terms import Z3Algebra, value_at

TOLERANCE = 1e-11  # relative to 1 + the largest value: float64 rounding of a few hundred operations

LEAVES = 6  # taps by which the gradient is checked

Check = Callable[[Case], str | None]


def checks_by_interpreter() -> Mapping[str, tuple[Check, ...]]:
    """What is checked, by the name that a violation carries."""
    return {
        "torch": (_shape, _deterministic, _broadcast, _single_precision, _gradient),
        "rational": (_rational,),
        "affine": (_affine, _outside),
        "text": (_text, _parses_back),
        "interval": (_encloses, _nests, _mirrors),
        "z3": (_z3,),
        "slopes": (_slopes, _lipschitz),
        "bits": (_decodes,),
    }


def _shape(case: Case) -> str | None:
    value = case.evaluate(case.tensor)
    if not isinstance(value, Tensor | float | int):
        return f"gives {type(value).__name__}, expected a tensor"
    shape = tuple(value.shape) if isinstance(value, Tensor) else ()
    wanted = (POINTS,) if leaves([case.program]) else ()
    if shape not in (wanted, ()) or (shape == () and wanted and _varies(case)):
        return f"gives shape {shape}, expected {wanted}"
    if not np.isfinite(as_array(value)).all():
        return "gives a value that is not finite"
    return None


def _deterministic(case: Case) -> str | None:
    first, second = (as_array(case.evaluate(case.tensor)) for _ in range(2))
    return None if np.array_equal(first, second) else "gives two answers for one input"


def _broadcast(case: Case) -> str | None:
    shapes: dict[tuple, tuple[int, int]] = {}

    def read(*key: Any) -> Tensor:
        shape = shapes.setdefault(key, ((3, 1), (1, 4))[len(shapes) % 2])
        return case.tensor(*key)[: max(shape)].reshape(shape)

    value = case.evaluate(read)
    wanted = tuple(torch.broadcast_shapes(*shapes.values()))
    got = tuple(value.shape) if isinstance(value, Tensor) else ()
    return None if got == wanted else f"shapes {sorted(set(shapes.values()))} give {got}"


def _single_precision(case: Case) -> str | None:
    value = case.evaluate(lambda *key: case.tensor(*key).float())
    if isinstance(value, Tensor) and value.dtype is not torch.float32:
        return f"float32 in gives {value.dtype}"
    return None


def _gradient(case: Case) -> str | None:
    """Autograd against central differences, at points that are on no kink but by rare accident."""
    leaves: dict[tuple, Tensor] = {}

    def read(*key: Any) -> Tensor:
        if key not in leaves:
            rng = np.random.default_rng(len(leaves))
            off_grid = torch.from_numpy(rng.uniform(0.0, 1 / 64, POINTS))
            leaves[key] = (case.tensor(*key) + off_grid).requires_grad_()
        return leaves[key]

    value = case.evaluate(read)
    if isinstance(value, Tensor) and value.requires_grad:
        value.sum().backward()
    for key, leaf in list(leaves.items())[:LEAVES]:
        gradient = np.zeros(POINTS) if leaf.grad is None else leaf.grad.numpy()
        slope, noise = _slope(case, leaves, key)
        if (np.abs(gradient - slope) > 1e-4 * np.abs(slope) + 1e-4 + noise).any():
            return "autograd's gradient is not the slope of the function"
    return None


def _slope(case: Case, leaves: Mapping[tuple, Tensor], key: tuple) -> tuple[np.ndarray, np.ndarray]:
    """The central difference by one tap, and what the rounding of its values makes of it."""
    step = 1e-6
    with torch.no_grad():
        low, high = (
            as_array(case.evaluate(lambda *k, by=by: leaves[k] + by * (k == key)))
            for by in (-step, step)
        )
    noise = np.finfo(float).eps * np.maximum(np.abs(low), np.abs(high)) / step
    return (high - low) / (2 * step), noise


def _rational(case: Case) -> str | None:
    exact = [
        evaluate(case.program, RationalAlgebra(lambda *k, i=i: case.values(*k)[i]), case.grammar)
        for i in range(POINTS)
    ]
    return _difference(case, [float(v) for v in exact])


def _affine(case: Case) -> str | None:
    with suppress(NotAffine):  # an answer: the program bends
        evaluate(case.program, AffineAlgebra(), case.grammar)
    hoisted = hoist(case.program, case.grammar)
    rows = [_row(affine, case) for affine in hoisted.rows]

    def read(bank: str, channel: int, dy: int, dx: int) -> Tensor:
        return rows[channel] if bank == ROWS else case.tensor(bank, channel, dy, dx)

    value = evaluate(hoisted.skeleton, TorchAlgebra(read), case.grammar)
    return _difference(case, as_array(value))


def _row(affine: Affine, case: Case) -> Tensor:
    bias = torch.full((POINTS,), affine.bias, dtype=torch.float64)
    return sum((w * case.tensor(*key) for key, w in affine.weights.items()), bias)


def _text(case: Case) -> str | None:
    algebra = TextAlgebra(lambda *key: f"values[{key!r}]")
    expression = evaluate(case.program, algebra, case.grammar)
    namespace: dict[str, Any] = {"torch": torch, "values": _Taps(case)}
    exec(HELPERS, namespace)
    return _difference(case, as_array(eval(expression, namespace)))


class _Taps(dict):
    """The tensors of all taps, by key, as the text of a program reads them."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case

    def __missing__(self, key: tuple) -> Tensor:
        return self.case.tensor(*key)


def _parses_back(case: Case) -> str | None:
    text = format_program(case.program, case.names, case.grammar)
    back = parse_program(text, case.names, case.grammar)
    return None if back == _canonical(case.program) else f"parses back as {back}"


def _canonical(program: Node) -> Node:
    """A shifted tap is a tap with that offset, and its text says so."""
    if program.op == "linear":
        weights: Any = program["weights"]
        terms = zip(weights, map(_canonical, program.args), strict=True)
        return linear(terms, float(program["bias"]))  # type: ignore[arg-type]
    if program.op == "shift" and program.args[0].op == "tap":
        bank, channel, dy, dx = (value for _, value in program.args[0].params)
        return tap(bank, channel, dy + program["dy"], dx + program["dx"])  # type: ignore
    return Node(program.op, tuple(map(_canonical, program.args)), program.params)


def _encloses(case: Case) -> str | None:
    """The interval over boxes holds the values in the middle and at random places in the boxes."""
    low, high = _interval(case, case.box)
    wrong = ~(low <= high)
    if wrong.any():
        at = int(np.argmax(wrong))
        return f"[{low[at]}, {high[at]}] is no interval"
    for share in (None, 0.0, 0.25, 0.8, 1.0):
        value = as_array(case.evaluate(lambda *key, s=share: _inside(case, key, s)))
        margin = _margin(value)
        outside = (value < low - margin) | (value > high + margin)
        if outside.any():
            at = int(np.argmax(outside))
            return f"[{low[at]}, {high[at]}] does not hold {value[at]}"
    return None


def _nests(case: Case) -> str | None:
    """A smaller box gives an interval within that of the larger one."""

    def smaller(*key: Any) -> tuple[np.ndarray, np.ndarray]:
        (low, high), middle = case.box(*key), case.tensor(*key).numpy()
        return (low + middle) / 2, (high + middle) / 2

    (low, high), (inner_low, inner_high) = _interval(case, case.box), _interval(case, smaller)
    margin = _margin(low) + _margin(high)
    if (inner_low < low - margin).any() or (inner_high > high + margin).any():
        return "a smaller box gives an interval that leaves that of the larger one"
    return None


def _mirrors(case: Case) -> str | None:
    """The transcendentals of a body have the parity that is declared of them."""
    algebra = _Mirrored(case.tensor)
    evaluate(case.program, algebra, case.grammar)
    return algebra.wrong


class _Mirrored(TorchAlgebra):
    """Compares transcendentals on both sides of zero."""

    wrong: str | None = None

    def call(self, function: Transcendental, x: Any) -> Any:
        value, mirrored = super().call(function, x), super().call(function, -x)
        wanted = as_array(function.parity * value)
        apart = np.abs(as_array(mirrored) - wanted) > _margin(wanted)
        if function.parity and apart.any():
            self.wrong = f"{function.name} has not the parity {function.parity}"
        return value


def _interval(case: Case, box: Callable[..., Any]) -> tuple[np.ndarray, np.ndarray]:
    low, high = evaluate(case.program, IntervalAlgebra(box), case.grammar)
    return as_array(low), as_array(high)


def _inside(case: Case, key: tuple, share: float | None) -> Tensor:
    if share is None:
        return case.tensor(*key)
    low, high = case.box(*key)
    return torch.from_numpy(low + share * (high - low))


def _z3(case: Case) -> str | None:
    algebra = Z3Algebra()
    term = evaluate(case.program, algebra, case.grammar)
    exact = [
        value_at(term, algebra, {key: case.values(*key)[i] for key in algebra.variables})
        for i in range(POINTS)
    ]
    return _difference(case, [float(v) for v in exact])


def _slopes(case: Case) -> str | None:
    found = slopes(case.skeleton, case.grammar) if case.skeleton else None
    if found is None or case.skeleton is None:
        return None
    row = np.linspace(-3.0, 3.0, 13)
    wanted = np.where(row > 0, float(found[1]), float(found[0])) * row
    value = _over_row(case.skeleton, case, row)
    near = np.abs(value - wanted) <= _margin(wanted)
    return None if near.all() else f"slopes {found} are not those of torch over row 0"


def _lipschitz(case: Case) -> str | None:
    bound = lipschitz(case.skeleton, case.grammar) if case.skeleton else None
    if bound is None or case.skeleton is None:
        return None
    rows = np.linspace(-4.0, 4.0, 801)
    values = _over_row(case.skeleton, case, rows)
    steep = np.abs(np.diff(values) / np.diff(rows)).max()
    if steep <= float(bound) * (1 + 1e-9) + 1e-9:
        return None
    return f"the Lipschitz constant {bound} is exceeded: {steep}"


def _outside(case: Case) -> str | None:
    """What mixes a bank for kernels to read is None where the channels are: outside of a window."""
    node = case.program
    if case.grammar[node.op].args != (Sort.BANK,):
        return None
    try:
        evaluate(node, AffineAlgebra(frozenset()), case.grammar)
    except KeyError:  # there is nothing to read, as it should be
        return None
    except (AttributeError, TypeError) as error:
        return f"computes with None outside of a window ({error}): see grammars.evaluation.mixed"
    return "has a value outside of a window, where its channels have none"


def _over_row(skeleton: Node, case: Case, row: np.ndarray) -> np.ndarray:
    algebra = TorchAlgebra(lambda *_: torch.from_numpy(row))
    value = evaluate(skeleton, algebra, case.grammar)
    return np.broadcast_to(np.asarray(value, dtype=np.float64), row.shape)


def _decodes(case: Case) -> str | None:
    banks = (leaf for leaf in leaves([case.program]) if leaf.op == "bank")
    whole = (tap(b["name"], c) for b in banks for c in range(b["channels"]))  # type: ignore
    taps = dict.fromkeys((*taps_of(case.program), *whole))
    scope = Scope("unit", 1, tuple(tuple(v for _, v in node.params) for node in taps))  # type: ignore
    source = (LayerSource(scope, (case.program,)),)
    stream = encode(source, case.grammar)
    if not len(stream):
        return "takes no bits"
    back = decode(stream.to_bytes(), [scope], case.grammar)
    return None if back == source else "the stream decodes to another program"


def _difference(case: Case, values: Any) -> str | None:
    """How `values` differ from torch's, if torch has any."""
    if case.reference is None:
        return None
    values = np.asarray(values, dtype=np.float64)
    apart = ~(np.abs(values - case.reference) <= _margin(case.reference))
    if not apart.any():
        return None
    at = int(np.argmax(apart))
    return f"gives {values[at]} where torch gives {case.reference[at]}"


def _varies(case: Case) -> bool:
    return case.reference is not None and bool(np.ptp(case.reference))


def _margin(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return TOLERANCE * (1.0 + float(np.abs(finite).max(initial=0.0)))
