"""What `synth prove` prints."""

from collections.abc import Mapping
from typing import Any

from synth.display import number, print_lines, print_pairs

Row = Mapping[str, Any]
SHOWN = 20  # probes that are listed; proofs.json has all


def print_proofs(document: Row) -> None:
    """The claim and its figures; of balls, the probes that are not certified come first."""
    of = {"compared": document["compared"], "semantics": document["semantics"]}
    domain = document["domain"]
    if domain["kind"] == "box":
        print_pairs({"domain": f"the box {domain['of']}", **of, **_box(document["box"])})
        return
    print_pairs({"domain": _balls(domain), **of, **_summary(document["summary"])})
    rows = sorted(document["rows"], key=lambda row: (row["same"], row["original"], -row["bound"]))
    lines = [_line(row) for row in rows[:SHOWN]]
    print_lines(lines, ("probe", "answer", "bound", "original", "same"), right=("probe", "bound"))


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
    }


def _box(found: Row) -> dict[str, str]:
    if found["bound"] is None:
        share = f"{100 * found['share']:.3g} % of the box is within it"
        bound = f"unknown: time was up with {found['left']} boxes left; {share}"
    else:
        bound = f"at most {number(found['bound'])} anywhere in the box"
    asked = {} if found["epsilon"] is None else {"asked for": f"ε = {found['epsilon']:g}"}
    return {**asked, "difference": bound, "boxes": str(found["boxes"])}


def _line(row: Row) -> list[str]:
    kept, same = ("yes" if row[key] else "no" for key in ("original", "same"))
    return [str(row["probe"]), str(row["answer"]), number(row["bound"]), kept, same]
