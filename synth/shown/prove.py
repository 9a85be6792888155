"""What `synth prove` prints."""

from collections.abc import Mapping
from typing import Any

from synth.certify.domain import SOUND
from synth.shown.tables import number, print_lines, print_pairs

Row = Mapping[str, Any]
SHOWN = 20  # probes that are listed; proofs.json has all


def print_proofs(document: Row) -> None:
    """The claim and its figures; of balls, the probes that are not certified come first."""
    of = {"compared": document["compared"], "semantics": document["semantics"]}
    domain = document["domain"]
    if domain["kind"] == "box":
        print_pairs({**_boxed(domain), **of, **_box(document["box"])})
        print_unit_bounds(document["units"])
        return
    print_pairs({"domain": _balls(domain), **of, **_summary(document["summary"])})
    rows = sorted(document["rows"], key=lambda row: (row["same"], row["original"], -row["bound"]))
    lines = [_line(row) for row in rows[:SHOWN]]
    right = ("probe", "bound", "found", "overshoot")
    print_lines(lines, (*right[:1], "answer", *right[1:], "original", "same"), right=right)
    print_unit_bounds(document["units"])


def print_unit_bounds(found: Row) -> None:
    """Units in real arithmetic; those of the largest composed bounds come first."""
    summary = found["summary"]
    rows = sorted(found["rows"], key=lambda row: -(row["composed"] or 0.0))[:SHOWN]
    figures = ("bound", "counterexample", "overshoot", "composed", "seen", "carried")
    lines = [
        [row["unit"], *(number(row[key]) for key in figures), str(row["status"])] for row in rows
    ]
    over = {"envelope": "the envelope of each layer", SOUND: "the least box of fit and select"}
    ratio = number(summary["overshoot_median"])
    behind = number(summary["composed_over_seen_median"])
    print_pairs(
        {
            "units": f"{summary['bounded']} of {summary['units']} bounded in real arithmetic, over "
            f"{over.get(found['domain'], 'the box')}",
            "same sources": f"bounds are {ratio} × what was found in the median of "
            f"{summary['searched']}",
            "replaced": f"bounds of units over replaced sources are {behind} × what was seen",
        }
    )
    right = ("bound", "found", "overshoot", "composed", "seen", "carried")
    print_lines(lines, ("unit", *right, "status"), right=right)


def _boxed(domain: Row) -> dict[str, str]:
    fit, rest = (f"{100 * domain['outside'][part]:.3g} %" for part in ("fit", "held_out"))
    least = domain["of"] == SOUND
    named = "the least box of fit and select" if least else f"the box {domain['of']}"
    return {"domain": named, "outside": f"{fit} of fit, {rest} of held-out"}


def _balls(domain: Row) -> str:
    cut = domain["within"] and " within {:g} … {:g}".format(*domain["within"])
    around = f"all within {domain['radius']:g} (norm {domain['norm']}) of a held-out probe"
    return around + (cut or "")


def _summary(found: Row) -> dict[str, str]:
    done, asked = found["done"], found["asked"]
    short = "" if done == asked else f" of {asked}; time was up, nothing is claimed of the rest"
    kept = f"{found['same']} of the {found['original']} that the original itself keeps"
    return {
        "probes": f"{done}{short}",
        "same answer": f"{found['same']} of {done} certified for both networks; {kept}",
        "difference": f"at most {number(found['bound_max'])}, "
        f"{number(found['bound_median'])} in the median probe",
        "found": _found(found),
    }


def _found(found: Row) -> str:
    """What the falsifier says of the bounds."""
    if not found["searched"]:
        return "time was up before anything was looked for"
    most, middle = number(found["counterexample_max"]), number(found["overshoot_median"])
    return f"at most {most} in {found['searched']}; bounds are {middle} × that in the median"


def _box(found: Row) -> dict[str, str]:
    if found["bound"] is None:
        share = f"{100 * found['share']:.3g} % of the box is within it"
        bound = f"unknown: time was up with {found['left']} boxes left; {share}"
    else:
        bound = f"at most {number(found['bound'])} anywhere in the box"
    asked = {} if found["epsilon"] is None else {"asked for": f"ε = {found['epsilon']:g}"}
    ratio = found["overshoot"] and f"; the bound is {number(found['overshoot'])} × that"
    seen = f"{number(found['counterexample'])}{ratio or ''}"
    return {**asked, "difference": bound, "found": seen, "boxes": str(found["boxes"])}


def _line(row: Row) -> list[str]:
    kept, same = ("yes" if row[key] else "no" for key in ("original", "same"))
    figures = [number(row[key]) for key in ("bound", "counterexample", "overshoot")]
    return [str(row["probe"]), str(row["answer"]), *figures, kept, same]
