"""What is said of programs that were written by hand."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from synth.by_hand.edits import HAND
from synth.shown.tables import number, print_front, print_pairs

Row = Mapping[str, Any]


def print_edit(row: Row, edit: Row, front: Sequence[Row]) -> None:
    """A program that is new, and the front of its unit with it."""
    unit = {"unit": f"{row['name']}, channel {row['channel']} of {row['layer']}"}
    print_pairs(unit | {"program": edit["program"]} | edit_rows(edit))
    print_front(row, front)


def print_written(front: Sequence[Row]) -> None:
    """What is known of each program of a front that was written by hand."""
    for edit in front:
        if edit["engine"] == HAND and "beside" in edit:
            print_pairs({"written by hand": edit["program"]} | edit_rows(edit))


def edit_rows(edit: Row) -> dict[str, str]:
    """How near a program is, what is proved of it, and what the network is with it, in words."""
    known = edit["beside"]
    epsilon = number(float(Fraction(known["epsilon"])))
    pairs = (
        ("FVU select", edit["fvu_select"], known["fvu_in_situ"]),
        ("FVU held-out", known["fvu_held_out"], known["fvu_held_out_in_situ"]),
    )
    return {
        "terms, bits": f"{known['terms']}, {edit['bits']}{', short' if known['short'] else ''}",
        **{name: f"{number(a)} local, {number(b)} in situ" for name, a, b in pairs},
        "claim": f"sup |unit − program| ≤ ε = {epsilon} over the {known['domain']}",
        "verdict": _verdict(known),
        "network": _network(known["network"]),
        "passes": "yes" if known["passes"] else f"no: {'; '.join(known['reasons'])}",
    }


def _verdict(known: Row) -> str:
    match known["verdict"]:
        case "proved":
            smt = ", by Z3 too" if known["smt_checked"] else ""
            return f"proved ({known['trust']}{smt}), bound {number(known['bound'])}"
        case "refuted":
            return f"refuted, differs by {number(known['difference'])}"
    return f"unknown: {known['reason']}"


def _network(found: Row) -> str:
    """The whole network with the program in place."""
    held = found["held_out"]
    agreement, kl = 100 * held["agreement"], number(held["kl_mean"])
    told = f"agreement {agreement:.2f} %, KL {kl} on held-out: {held['verdict']}"
    return f"{found['bits']:,} bits with it, {told}"
