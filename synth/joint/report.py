"""What joint refinement has gained at the point that was chosen."""

from typing import Any

from synth.choice import Point


def joint_figures(
    assembled: Point | None, refined: Point, *, apart: int = 0
) -> dict[str, Any] | None:
    """Bits, and KL and agreement on select, as assembled and refined, and how many units moved;
    None where nothing was to be refined. `apart` are bits that something else has saved since."""
    if assembled is None:
        return None
    moved = sum(
        old.program != new.program
        for before, after in zip(assembled.choices, refined.choices, strict=True)
        for old, new in zip(before.units, after.units, strict=True)
    )
    after = _figures(refined) | {"bits": refined.bits + apart}
    return {"assembled": _figures(assembled), "refined": after, "moved": moved}


def _figures(point: Point) -> dict[str, float]:
    return {"bits": point.bits, "kl": point.kl, "agreement": point.agreement}
