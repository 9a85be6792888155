"""Rows of the ONNX table that change the frame of a map: padding and resizing."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from synth.formats.onnx_node import Call, Node, Value, whole
from synth.formats.steps import Unsupported

Function = Callable[..., Any]

_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


# padding


def _pad(node: Node) -> Call:
    mode = _MODES[node.expect("mode", *_MODES)]
    value = node.setting("value", 2) or 0.0
    axes = node.setting("axes", 3)

    def function(x: Tensor, given: Value | None) -> Tensor:
        pads = node.attributes["pads"] if given is None else whole(given, "pads")
        pairs = _pairs(pads, x.ndim, axes)
        if mode == "constant":
            return F.pad(x, _sides(pairs), mode, value)
        if any(pair != (0, 0) for pair in pairs[:2]):
            raise Unsupported(f"it pads samples or channels in mode {mode}")
        return F.pad(x, _sides(pairs[2:]), mode)

    return Call(function, (node.inputs[0], node.inputs[1] if node.has(1) else None))


def _sides(pairs: Sequence[tuple[int, int]]) -> list[int]:
    """As torch counts: from the last dimension to the first."""
    return [side for pair in reversed(pairs) for side in pair]


def _pairs(pads: Sequence[int], rank: int, axes: Sequence[int] | None) -> list[tuple[int, int]]:
    """(before, after) of each dimension."""
    pairs, count = [(0, 0)] * rank, len(pads) // 2
    for i, axis in enumerate(range(rank) if axes is None else axes):
        pairs[axis % rank] = (pads[i], pads[i + count])
    return pairs


# resizing


@dataclass(frozen=True)
class Axis:
    """A dimension that is resized: its sizes before and after, and the ratio that was asked for."""

    before: int
    after: int
    scale: float

    @property
    def exact(self) -> bool:
        return self.before * self.scale == self.after


def _resize(node: Node) -> Call:
    mode = node.expect("mode", "nearest", "linear", "cubic")
    node.expect("antialias", 0)
    node.expect("exclude_outside", 0)
    node.expect("keep_aspect_ratio_policy", "stretch")

    def function(x: Tensor, target: Value | None) -> Tensor:
        space = _axes(node, x, target)
        return _nearest(node, x, space) if mode == "nearest" else _smooth(node, x, space, mode)

    # roi stands second since opset 11, and the sizes last
    target = node.inputs[3] if node.opset >= 11 and node.has(3) else None
    return Call(function, (node.inputs[0], target))


def _axes(node: Node, x: Tensor, target: Value | None) -> list[Axis]:
    """The dimensions behind the channels, as they are resized."""
    over = [a % x.ndim for a in node.attributes.get("axes", range(x.ndim))]
    if target is not None:
        after = dict(zip(over, whole(target, "sizes"), strict=True))
        scales = {a: after[a] / x.shape[a] for a in over if a > 1}
        kept = after.get(1, x.shape[1]) == x.shape[1]
    else:
        factors = node.setting("scales", 2 if node.opset >= 11 else 1)
        scales = dict(zip(over, factors or (), strict=True))
        after = {a: math.floor(x.shape[a] * scales[a]) for a in over if a > 1}
        kept = all(scales.get(a, 1) == 1 for a in (0, 1))
    if not kept:
        raise Unsupported("it resizes samples or channels")
    space = [(a, x.shape[a]) for a in range(2, x.ndim)]
    return [Axis(n, int(after.get(a, n)), scales.get(a, 1.0)) for a, n in space]


def _coordinate(node: Node) -> str:
    usual = "half_pixel" if node.opset >= 11 else "asymmetric"
    name = "coordinate_transformation_mode"
    return node.attributes.get(name, usual)


_PLACES: Mapping[str, Callable[[int, Axis], float]] = {
    "asymmetric": lambda i, a: i / a.scale,
    "align_corners": lambda i, a: i * (a.before - 1) / max(a.after - 1, 1),
    "half_pixel": lambda i, a: (i + 0.5) / a.scale - 0.5,
    "pytorch_half_pixel": lambda i, a: (i + 0.5) / a.scale - 0.5 if a.after > 1 else 0.0,
    "half_pixel_symmetric": lambda i, a: (
        a.before / 2 * (1 - a.after / (a.scale * a.before)) + (i + 0.5) / a.scale - 0.5
    ),
}
_ROUNDINGS: Mapping[str, Callable[[float], int]] = {
    "round_prefer_floor": lambda x: math.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: math.floor(x + 0.5),
    "floor": math.floor,
    "ceil": math.ceil,
}


def _nearest(node: Node, x: Tensor, space: Sequence[Axis]) -> Tensor:
    """By torch's operation where it picks the same pixels, else pixel by pixel."""
    mode = _coordinate(node)
    if mode not in _PLACES:
        raise Unsupported(f"its coordinates are {mode}, which is not read")
    usual = "round_prefer_floor" if node.opset >= 11 else "floor"
    rounding = _ROUNDINGS[node.attributes.get("nearest_mode", usual)]
    picked = [_picked(a, lambda i, a=a: rounding(_PLACES[mode](i, a))) for a in space]
    for name, half in (("nearest", 0.0), ("nearest-exact", 0.5)):
        if picked == [_torch_pixels(axis, half) for axis in space]:
            return F.interpolate(x, size=[a.after for a in space], mode=name)
    for dimension, pixels in enumerate(picked, start=2):
        x = x.index_select(dimension, torch.tensor(pixels))
    return x


def _torch_pixels(axis: Axis, half: float) -> list[int]:
    return _picked(axis, lambda i: int((i + half) * axis.before / axis.after))


def _picked(axis: Axis, place: Callable[[int], int]) -> list[int]:
    return [min(max(place(i), 0), axis.before - 1) for i in range(axis.after)]


def _smooth(node: Node, x: Tensor, space: Sequence[Axis], mode: str) -> Tensor:
    places = _coordinate(node)
    name = {("linear", 1): "linear", ("linear", 2): "bilinear", ("cubic", 2): "bicubic"}.get(
        (mode, len(space))
    )
    agrees = places == "align_corners" or (
        places in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")
        and all(a.exact and (a.after > 1 or places == "half_pixel") for a in space)
    )
    if name is None or not agrees or node.attributes.get("cubic_coeff_a", -0.75) != -0.75:
        raise Unsupported(
            f"it resizes maps of {len(space)} dimensions by mode {mode} and coordinates {places}, "
            "which torch computes otherwise"
        )
    corners = places == "align_corners"
    return F.interpolate(x, size=[a.after for a in space], mode=name, align_corners=corners)


FRAMES: Mapping[str, Callable[[Node], Any]] = {
    "Pad": _pad,
    "Resize": _resize,
    "Upsample": _resize,
}
