"""A run that was cut off, as far as it came: units have fronts, and nothing is chosen yet."""

from pathlib import Path
from typing import Any

from synth.folder import Finished, open_run
from synth.store import FRONT, Store

Row = dict[str, Any]

STATUS = "searched"  # of a unit with a front, in a run without a choice


def opened(folder: Path) -> Finished:
    """A finished run, or what there is of one that is not. Raises InputError: no run, or damaged
    files."""
    if (folder / "summary.json").exists() or not folder.is_dir():
        return open_run(folder)
    with Store(folder, create=False) as store:
        labels = sorted(store.names(FRONT), key=_place)
    return Finished(folder, {}, tuple(map(_row, labels)))


def _place(label: str) -> tuple[str, int]:
    layer, _, channel = label.removesuffix("]").rpartition("[")
    return layer, int(channel)


def _row(label: str) -> Row:
    layer, channel = _place(label)
    nothing = dict.fromkeys(("program", "bits", "fvu_local", "fvu_in_situ", "engine", "terms"))
    row: Row = {"layer": layer, "channel": channel, "name": label, "status": STATUS}
    return row | nothing | {"verdict": "unknown", "epsilon": "0", "domain": "envelope"}
