"""What joint refinement has gained, in words."""

from collections.abc import Mapping
from typing import Any


def joint_rows(joint: Mapping[str, Any] | None) -> dict[str, str]:
    """The row of a run's table; none where nothing was to be refined."""
    if joint is None:
        return {}
    before, after = joint["assembled"], joint["refined"]
    told = "{bits:,} bits, KL {kl:.3g}".format
    return {"refined": f"{joint['moved']} units: {told(**before)} → {told(**after)} on select"}
