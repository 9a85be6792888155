"""Other ways to a formula, for comparison: Operon alone, gplearn, and pykan's symbolic fit.

Each is given samples (n, F) and (n,), and so many seconds; each gives functions from inputs to
values, with their texts. They are not asked to find short numbers: whoever is right within a small
error counts, and of Operon's front any member that is.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from tempfile import TemporaryDirectory

import numpy as np
import torch

from grammars.evaluation import evaluate
from grammars.grammar import Grammar
from grammars.interpreters.torch import TorchAlgebra
from grammars.names import Names
from grammars.program import Node, tap
from grammars.text import format_program
from synth.engine import EngineFailed
from synth.regression.apart import Apart
from synth.regression.expressions import program_of

LIBRARY = [
    "x",
    "x^2",
    "x^3",
    "1/x",
    "sqrt",
    "exp",
    "sin",
    "tanh",
    "abs",
    "gaussian",
]  # pykan's words
LOOKED_AT = 300  # samples for its choice among them

Formula = tuple[str, Callable[[np.ndarray], np.ndarray]]
Rival = Callable[[np.ndarray, np.ndarray, float, int], Iterator[Formula]]
BANK = "x"
FUNCTIONS = ("add", "sub", "mul", "div", "abs", "square", "sqrt", "exp", "cos", "sin", "tanh")


def values(program: Node, inputs: np.ndarray, grammar: Grammar) -> np.ndarray:
    """(n,) a program over inputs (n, F)."""
    columns = torch.from_numpy(inputs.T.astype(np.float64))
    found = evaluate(program, TorchAlgebra(lambda bank, c, dy, dx: columns[c]), grammar)
    return torch.as_tensor(found, dtype=torch.float64).expand(len(inputs)).numpy()


def operon(grammar: Grammar) -> Rival:
    """All of the front of error and length; its products need the `grammar` to be evaluated."""

    def fit(inputs: np.ndarray, target: np.ndarray, seconds: float, seed: int) -> Iterator[Formula]:
        options = {
            "allowed_symbols": ",".join((*FUNCTIONS, "fmin", "fmax", "constant", "variable")),
            "objectives": ["r2", "length"],
            "optimizer_iterations": 5,
            "max_length": 25,
            "max_evaluations": 10**9,
            "generations": 10**6,
            "max_time": max(1, round(seconds)),
            "population_size": 500,
            "random_state": seed,
        }
        taps = [tap(BANK, i) for i in range(inputs.shape[1])]
        names = Names({BANK: len(taps)}, reserved=grammar)
        apart = Apart("synth.regression.operon_child", seconds=10 * seconds + 60)
        try:
            answers = apart.fit(options, inputs, target)
        except EngineFailed as error:
            yield str(error), lambda x: np.zeros(len(x))
            return
        for program in (program_of(answer, taps) for answer in answers):
            if program is not None:
                text = format_program(program, names, grammar)
                yield text, lambda x, p=program: values(p, x, grammar)

    return fit


def gplearn(inputs: np.ndarray, target: np.ndarray, seconds: float, seed: int) -> Iterator[Formula]:
    """The best program after as many generations as there is time for."""
    from gplearn.functions import make_function  # pyright: ignore[reportMissingImports]
    from gplearn.genetic import SymbolicRegressor  # pyright: ignore[reportMissingImports]

    own = {"square": np.square, "exp": lambda x: np.exp(np.minimum(x, 30.0)), "tanh": np.tanh}
    known = ["add", "sub", "mul", "div", "abs", "sqrt", "cos", "sin", "max", "min"]
    added = [make_function(function=f, name=n, arity=1, wrap=False) for n, f in own.items()]
    regressor = SymbolicRegressor(
        population_size=1000,
        generations=1,
        function_set=(*known, *added),
        parsimony_coefficient=1e-3,
        random_state=seed,
        warm_start=True,
    )
    start, regressor.generations = time.perf_counter(), 0
    with np.errstate(all="ignore"):
        while time.perf_counter() - start < seconds:
            regressor.generations += 1
            regressor.fit(inputs, target)
    yield str(regressor._program), regressor.predict


def pykan(inputs: np.ndarray, target: np.ndarray, seconds: float, seed: int) -> Iterator[Formula]:
    """A network of splines, pruned, with the function of its library nearest to each spline.

    The last is slow whatever time there is, so it looks at fewer samples.
    """
    from kan import KAN  # pyright: ignore[reportMissingImports]

    start = time.perf_counter()
    pairs = torch.from_numpy(inputs).float(), torch.from_numpy(target).float()[:, None]
    names = "train_input", "train_label", "test_input", "test_label"
    data = dict(zip(names, (*pairs, *pairs), strict=True))
    with TemporaryDirectory() as folder, redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        width = [inputs.shape[1], 5, 1]
        model = KAN(width, grid=5, k=3, seed=seed, ckpt_path=folder, auto_save=False)
        while time.perf_counter() - start < 0.4 * seconds:
            model.fit(data, opt="LBFGS", steps=10, lamb=1e-3)
        model = model.prune()
        while time.perf_counter() - start < 0.6 * seconds:
            model.fit(data, opt="LBFGS", steps=10)
        model(pairs[0][:LOOKED_AT])
        model.auto_symbolic(lib=LIBRARY, verbose=0)
        while time.perf_counter() - start < seconds:
            model.fit(data, opt="LBFGS", steps=10)
        text = str(model.symbolic_formula()[0][0])  # pyright: ignore[reportOptionalSubscript]

    def predict(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(x).float())[:, 0].double().numpy()

    yield text, predict


def rivals(grammar: Grammar) -> tuple[dict[str, Rival], list[str]]:
    """Those that are installed, by name, and the names of the others."""
    known: dict[str, tuple[str, Rival]] = {
        "Operon alone": ("pyoperon", operon(grammar)),
        "gplearn": ("gplearn", gplearn),
        "pykan": ("kan", pykan),
    }
    here = {name: rival for name, (package, rival) in known.items() if find_spec(package)}
    return here, [name for name in known if name not in here]
