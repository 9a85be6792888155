"""The command `synth show`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.commands.options import json_option, run_argument, unit_argument

if TYPE_CHECKING:
    from synth.folder import Finished

Row = dict[str, Any]


@click.command()
@run_argument
@unit_argument(required=False)
@json_option
def show(folder: Path, unit: str | None, as_json: bool) -> None:
    """Show all units, or a layer, or a unit.

    UNIT is a layer (fc1), or a unit (fc1_3 or 'fc1[3]') of which the whole front is shown, and over
    maps the kernels of unit, program and difference on one scale; or a direction (fc1_direction_3,
    or its own name).
    """
    from synth.folder import open_run
    from synth.shown.tables import print_json, print_units

    found = open_run(folder)
    what = found.find(unit) if unit is not None else None
    if isinstance(what, dict):
        _show_unit(found, what, as_json)
        return
    layers = found.layers if what is None else {what: found.layers[what]}
    print_json(layers) if as_json else print_units(layers, found.common)


def _show_unit(found: "Finished", row: Row, as_json: bool) -> None:
    from synth.common.stored import read_by
    from synth.shown.drawing import kernels_of, print_kernels
    from synth.shown.edit import print_written
    from synth.shown.tables import print_json, print_unit

    front, costs, kernels = found.front(row), found.costs(row), kernels_of(found, row)
    common = read_by(found.common, row)
    if as_json:
        shared = {"common": common} if common else {}
        print_json({**row, **shared, "front": front, "engines": costs, "kernels": kernels})
        return
    print_unit(row, front, costs, common)
    print_written(front)
    if kernels is not None:
        print_kernels(kernels)
