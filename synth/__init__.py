"""Write the source of a trained network: a short, proved program for every unit.

    import synth

    run = synth.run(net, (inputs, labels))     # what `synth run` does
    run["conv1"]["edge_45"].front              # all candidates of a unit
    run.replacement()                          # a torch.nn.Module
    run = synth.open("results/net")            # a finished run

Nothing is imported before it is asked for, so that `synth --help` answers at once.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synth.api.finished import Layer, Run
    from synth.api.making import open, run
    from synth.api.settings import Settings
    from synth.api.units import Candidate, Front, Unit
    from synth.errors import InputError

__all__ = [
    "Candidate",
    "Front",
    "InputError",
    "Layer",
    "Run",
    "Settings",
    "Unit",
    "open",
    "run",
]

_HOMES = {
    "synth.api.finished": ("Layer", "Run"),
    "synth.api.making": ("open", "run"),
    "synth.api.settings": ("Settings",),
    "synth.api.units": ("Candidate", "Front", "Unit"),
    "synth.errors": ("InputError",),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'synth' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
