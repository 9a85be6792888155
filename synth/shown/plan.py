"""The plan of a run as tables on standard output."""

from synth.footprint import memory_text
from synth.layers import Geometry, Shape
from synth.plan import LayerPlan, Plan
from synth.shown.tables import print_lines, print_pairs

CAUTION = "memory within a third, as a rule; time of a run from its start, on this machine"


def print_plan(plan: Plan) -> None:
    """What would be searched and what it would take; problems are told elsewhere."""
    print_pairs(_rows(plan))
    titles = "layer", "reads", "units", "maps", "window"
    print_lines([_geometry_row(la) for la in plan.layers], titles, title="layers", right=("units",))
    print()
    titles = "layer", "weights a unit", "patches needed", "on fit", "memory", "time"
    rows = [_cost_row(la) for la in plan.layers]
    print_lines(rows, titles, title="what they take", right=titles[1:5])
    print()
    _print_opaque(plan)


def _rows(plan: Plan) -> dict[str, str]:
    searched = [la for la in plan.layers if la.searched]
    kept = len(plan.layers) - len(searched)
    units, weights = sum(la.units for la in searched), sum(la.units * la.weights for la in searched)
    fit, select, held_out = (plan.probes[name] for name in ("fit", "select", "held_out"))
    return {
        "network": plan.network,
        "to search": f"{units:,} units with {weights:,} weights in {len(searched)} layers"
        + (f"; {kept} more keep their weights" if kept else ""),
        "probes": f"{fit:,} fit, {select:,} select, {held_out:,} held out",
        "memory": _memory(plan),
        "time": _time(plan),
        "estimates": CAUTION,
        "run folder": plan.out,
    }


def _memory(plan: Plan) -> str:
    peak = plan.memory
    place = f"layer {peak.layer}, " if peak.layer else ""
    limit = "" if peak.limit is None else f"; {memory_text(peak.limit)} available"
    return f"about {memory_text(peak.memory)} ({place}{peak.step}){limit}"


def _time(plan: Plan) -> str:
    low, high = map(time_text, plan.seconds)
    workers = f"{plan.jobs} workers" if plan.jobs > 1 else "1 worker"
    largest = sorted(plan.stages.items(), key=lambda stage: -stage[1])
    parts = (f"{name} {time_text(seconds)}" for name, seconds in largest if seconds >= 1)
    told = ", ".join(parts)
    return f"{low} to {high} with {workers}" + (f": {told}" if told else "")


def _geometry_row(layer: LayerPlan) -> tuple[str, ...]:
    maps = f"{_shape(layer.in_shape)} → {_shape(layer.out_shape)}"
    window = window_text(layer.geometry, layer.groups)
    return layer.name, layer.source, str(layer.units), maps, window


def _cost_row(layer: LayerPlan) -> tuple[str, ...]:
    patches = f"{layer.patches_needed:,}", f"{layer.patches:,}"
    seconds = time_text(layer.seconds) + ("" if layer.searched else ", not searched")
    return layer.name, f"{layer.weights:,}", *patches, memory_text(layer.memory), seconds


def _print_opaque(plan: Plan) -> None:
    if not plan.opaque:
        print("no opaque nodes: all that the network computes is read")
        return
    rows = [(o.node, o.operation, o.module_path or "–", o.reason) for o in plan.opaque]
    print_lines(rows, ("node", "operation", "module", "reason"), title="opaque nodes")


def window_text(geometry: Geometry, groups: int = 1) -> str:
    """`3×3, stride 2, pad 1, 32 groups`: what is as usual is left out."""
    parts = [
        _pair(geometry.window),
        *([] if geometry.stride == (1, 1) else [f"stride {_short(geometry.stride)}"]),
        *([] if geometry.padding == (0, 0) else [f"pad {_short(geometry.padding)}"]),
        *([] if geometry.dilation == (1, 1) else [f"dilation {_short(geometry.dilation)}"]),
        *([] if groups == 1 else [f"{groups} groups"]),
    ]
    return ", ".join(parts)


def time_text(seconds: float) -> str:
    """A time to two digits: it is an estimate."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else "< 1 s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _pair(pair: tuple[int, int]) -> str:
    return f"{pair[0]}×{pair[1]}"


def _short(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else _pair(pair)


def _shape(shape: Shape) -> str:
    return "×".join(map(str, shape)) if shape[1:] != (1, 1) else str(shape[0])
