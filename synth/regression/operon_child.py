"""Operon (Burlacu et al. 2020) in a process of its own: `python -m synth.regression.operon_child`.

Its parser of infix text and some operations can end the process, and its Python enumeration has the
names of minimum and maximum swapped: trees are read node by node, by the nodes' own names.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synth.regression.child import serve

NAMES = {"+": "add", "-": "sub", "*": "mul", "/": "div", "fmin": "min", "fmax": "max"}
OF_ONE = {"sub": "neg", "div": "inv"}


def fit(options: Mapping[str, Any], inputs: np.ndarray, target: np.ndarray) -> list[Any]:
    """The front of error and length as expressions, shortest first."""
    from pyoperon.sklearn import SymbolicRegressor  # pyright: ignore[reportMissingImports]

    regressor = SymbolicRegressor(**options).fit(inputs, target)
    places = {key: place for place, key in enumerate(regressor.variables_)}
    front = sorted(regressor.pareto_front_, key=lambda row: row["length"])
    return [_expression(row["tree"].Nodes, places) for row in front]


def _expression(nodes: Sequence[Any], places: Mapping[int, int]) -> list[Any]:
    """A tree in postfix order, of which the first argument of a function stands last."""
    stack: list[list[Any]] = []
    for node in nodes:
        if node.IsVariable:
            stack.append(_scaled(node.Value, ["var", places[node.HashValue]]))
        elif node.IsConstant:
            stack.append(["const", node.Value])
        else:
            args: list[Any] = [stack.pop() for _ in range(node.Arity)]
            name: str = NAMES.get(node.Name) or node.Name
            name = OF_ONE.get(name, name) if len(args) == 1 else name
            stack.append(_scaled(node.Value, [name, *args]))
    (whole,) = stack
    return whole


def _scaled(weight: float, expression: list[Any]) -> list[Any]:
    return expression if weight == 1.0 else ["mul", ["const", weight], expression]


if __name__ == "__main__":
    serve(fit)
