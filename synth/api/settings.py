"""The settings of `synth.run`: the keys of a configuration, by their own names alone."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypedDict

from synth.errors import Problems, nearest


class Settings(TypedDict, total=False):
    """What may be said of a run; each is a key of the configuration (`synth.config`).

    Network: `output` is the one of several outputs that is judged, by name or index; `values` are
    all that a number of the inputs may be; `threshold` makes each output a decision by itself.
    Probes: shares `held_out` of all and `select` of what then remains. The rest are keys of
    [search], [accept] and [run].
    """

    output: str | int
    values: Sequence[float]
    threshold: float
    held_out: float
    select: float
    layers: str | Sequence[str]
    max_fvu: float
    max_error: float
    engines: str | Sequence[str]
    grammar: str | Sequence[str]
    tags: str | Sequence[str]
    weights: Mapping[str, float]
    budget: int
    basis: str
    plugins: bool
    patches_per_weight: float
    families: bool
    templates: str | Sequence[str]
    deep: str | Mapping[str, str]
    margin: float
    max_kl: float
    min_agreement: float
    bits: float
    short: bool
    joint: bool
    seed: int
    controls: str | Sequence[str]
    jobs: int
    device: str
    backend: str
    scheduler: str
    unit_seconds: float
    unit_memory_mib: int
    max_memory_mib: int
    retries: int
    quiet: bool


SAID_APART = {
    "network": ("factory", "file", "weights"),
    "probes": ("inputs", "labels", "test_inputs", "test_labels"),
    "run": ("out",),
}
"""Keys that the other arguments of `synth.run` stand for."""


def keys() -> dict[str, str]:
    """The dotted key of the configuration that each setting stands for."""
    from synth.config import TABLES

    pairs = ((table, f.name) for table, kind in TABLES.items() for f in fields(kind))
    return {name: f"{t}.{name}" for t, name in pairs if name not in SAID_APART.get(t, ())}


def overrides(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted key, as flags of the command are. Raises InputError: an unknown one."""
    from synth.origin import listed

    known = keys()
    with Problems() as problems:
        for name in settings.keys() - known.keys():
            problems.add(f"synth.run has no setting {name!r}.{nearest(name, known)}")
    return listed({known[name]: _as_flag(value) for name, value in settings.items()})


def _as_flag(value: Any) -> Any:
    """A list even if it is empty: no entry of a tuple is a flag that was not given."""
    return list(value) if isinstance(value, tuple) else value
