"""Engines by name: each file of this folder is one, and installed packages may add others.

A package declares an engine in the entry point group `synth.engines`, under the name that users
give:

    [project.entry-points."synth.engines"]
    mine = "my_package:MyEngine"

It is imported only where a run asks for it. `[search] plugins = false` leaves such engines, and
primitives that packages add, out of a run.

`auto` stands for all engines that can do something for a run, PySR where Julia is and else Operon;
but for `counterexample`, which looks for guarantees and may take half a minute for a unit.
"""

import importlib
import pkgutil
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from synth.engine import Engine
from synth.errors import InputError, nearest

GROUP = "synth.engines"
AUTO = "auto"


def engine_names(*, plugins: bool = True) -> list[str]:
    """All names that users may give."""
    return sorted({AUTO, *_own(), *(_added() if plugins else ())})


def load_engine(name: str, *, plugins: bool = True) -> type[Engine]:
    """The class of an engine. Raises InputError: unknown, cannot be imported, or is no engine."""
    if is_own(name):
        return importlib.import_module(f"{__name__}.{name}").ENGINE
    known = engine_names(plugins=plugins)
    if name not in known:
        hint = nearest(name, known) or f" Known are {', '.join(known)}."
        raise InputError(f"search.engines: unknown engine {name!r}.{hint}")
    return _imported(_added()[name])


def automatic(able: Callable[[type[Engine]], bool]) -> tuple[tuple[str, ...], str]:
    """The engines that `auto` stands for, and a sentence that says so; `able` tells which of them
    would find something."""
    named, why = ["linear", "discrete", "kernel", "template", "enumeration"], ""
    pysr, operon = (load_engine(name) for name in ("pysr", "operon"))
    if (reason := missing(pysr)) is None:
        named.append("pysr")
    elif (other := missing(operon)) is None:
        named.append("operon")
        why = f"; Operon in the place of PySR: {reason}"
    else:
        why = f"; neither PySR ({reason}) nor Operon ({other})"
    found = tuple(name for name in named if able(load_engine(name)))
    return found, f"engines: {', '.join(found)}{why}"


def memory_of(engine: type[Engine]) -> float:
    """Bytes that an engine may hold for a unit beside the evidence."""
    asked = getattr(engine, "memory", None)
    return asked() if asked else 0.0


def missing(engine: type[Engine]) -> str | None:
    """What is to be installed before an engine can be used, in a sentence; None if nothing is."""
    asked = getattr(engine, "missing", None)
    return asked() if asked else None


def is_own(name: str) -> bool:
    """Whether the engine comes with the package."""
    return name in _own()


def _own() -> set[str]:
    """The files of this folder: each is called as its engine is."""
    return {module.name for module in pkgutil.iter_modules(__path__)}


def _added() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _imported(point: EntryPoint) -> type[Engine]:
    origin = f"engine {point.name!r} ({point.value}" + (
        f" of package {point.dist.name})" if point.dist else ")"
    )
    try:
        engine = point.load()
    except Exception as error:  # a plugin may fail in any way
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"search.engines: {origin} cannot be imported ({reason}): mend the package, or leave "
            "the engine out."
        ) from error
    missing = [n for n in ("name", "propose", "refit") if not hasattr(engine, n)]
    if missing:
        raise InputError(f"search.engines: {origin} is no engine: it lacks {', '.join(missing)}.")
    return engine
