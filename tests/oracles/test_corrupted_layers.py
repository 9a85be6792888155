"""Corruptions of what the units of a layer share: all of conv1 falls, and nothing else."""

import numpy as np
import pytest
from certified import LABELS


def of_layer(key, value):
    def corrupt(run):
        run.document["layers"]["conv1"][key] = value

    return corrupt


def tensor(name, change):
    def corrupt(run):
        run.tensors[name] = change(run.tensors[name])

    return corrupt


def with_value(value):
    def change(array):
        array.flat[:] = value
        return array

    return change


def channel_alias(value):
    def corrupt(run):
        for certificate in run.document["certificates"][:8]:
            certificate["channel"] = value
            certificate["unit"] = f"conv1[{value}]"

    return corrupt


def names_rotated(run):
    run.document["layers"]["conv1"]["names"] = {f"conv_{c}": (c + 1) % 4 for c in range(4)}


def layer_missing(run):
    del run.document["layers"]["conv1"]


def tensor_missing(run):
    del run.tensors["conv1.lower"]


OF_A_LAYER = {
    "box narrowed": tensor("conv1.upper", lambda a: a - 0.125),
    "box shifted by an ulp": tensor("conv1.lower", lambda a: np.nextafter(a, 1)),
    "box empty": tensor("conv1.upper", lambda a: a - 100),
    "box infinite": tensor("conv1.upper", with_value(np.inf)),
    "box nan": tensor("conv1.lower", with_value(np.nan)),
    "box in float32": tensor("conv1.lower", lambda a: a.astype(np.float32)),
    "box too short": tensor("conv1.lower", lambda a: a[:-1]),
    "weights moved an ulp": tensor("conv1.weight", lambda a: np.nextafter(a, np.float32(9))),
    "weights nan": tensor("conv1.weight", with_value(np.nan)),
    "weights transposed": tensor("conv1.weight", lambda a: np.ascontiguousarray(a.T)),
    "weights in float64": tensor("conv1.weight", lambda a: a.astype(np.float64)),
    "weights rolled": tensor("conv1.weight", lambda a: np.roll(a, 1, axis=0)),
    "bias moved": tensor("conv1.bias", lambda a: a + np.float32(0.25)),
    "bias infinite": tensor("conv1.bias", with_value(np.inf)),
    "bias too long": tensor("conv1.bias", lambda a: np.append(a, a[:1])),
    "names rotated": names_rotated,
    "names out of range": of_layer("names", {f"conv_{c}": c + 100 for c in range(4)}),
    "names negative": of_layer("names", {f"conv_{c}": c - 4 for c in range(4)}),
    "names no object": of_layer("names", ["conv_0"]),
    "names fractional": of_layer("names", {f"conv_{c}": c + 0.5 for c in range(4)}),
    "rows reversed": of_layer("rows", [1, 0, -1]),
    "rows twice": of_layer("rows", [0, 0, 1]),
    "rows text": of_layer("rows", "abc"),
    "columns reversed": of_layer("columns", [2, 0]),
    "channels more": of_layer("channels", 5),
    "channels negative": of_layer("channels", -4),
    "channels text": of_layer("channels", "4"),
    "heads shorter": of_layer("heads", [{"op": "relu", "params": {}}]),
    "heads odd": of_layer("heads", [{"op": "mish", "params": {}}] * 8),
    "heads nan": of_layer("heads", [{"op": "prelu", "params": {"slope": float("nan")}}] * 8),
    "layer missing": layer_missing,
    "tensor missing": tensor_missing,
    "channel negative": channel_alias(-1),
    "channel too large": channel_alias(8),
    "channel a bool": channel_alias(True),
    "channel a float": channel_alias(1.0),
}


@pytest.mark.parametrize("name", OF_A_LAYER)
def test_a_corrupted_layer_falls_and_no_other(run, tmp_path, name):
    """What a layer's units share takes all of them down, with a reason each, and no others."""
    OF_A_LAYER[name](run)
    report = run.check(tmp_path)
    assert report.accepted == [label for label in LABELS if label.startswith("block.2")]
    assert len(report.rejected) == 8
    assert all(unit.startswith("conv1[") and reason for unit, reason in report.rejected)
