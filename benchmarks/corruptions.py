"""Ways to corrupt a certificate: each changes one of a list of them, which may not pass then."""

import re
from collections.abc import Callable
from typing import Any

Certificate = dict[str, Any]


def _coefficient(victim: Certificate, _: list[Certificate]) -> None:
    """Eight more on the first coefficient that is written."""
    victim["program"] = re.sub(
        r"[\d.e-]+(?=\*)", lambda m: str(abs(float(m[0])) + 8.0), victim["program"], count=1
    )


def _bias(victim: Certificate, _: list[Certificate]) -> None:
    victim["program"] = (
        f"{victim['program'][:-1]} + 0.25)"
        if victim["program"].endswith(")")
        else f"{victim['program']} + 0.25"
    )


def _understated(victim: Certificate, _: list[Certificate]) -> None:
    victim["bound"] = "0"


def _narrow(victim: Certificate, _: list[Certificate]) -> None:
    victim["epsilon"] = "1/1000000000"


def _multiplier(victim: Certificate, _: list[Certificate]) -> None:
    victim["multipliers"] = ["2"] * 4


def _swapped(victim: Certificate, others: list[Certificate]) -> None:
    victim["program"] = next(c for c in others if c["program"] != victim["program"])["program"]


def _head(victim: Certificate, _: list[Certificate]) -> None:
    victim["head"] = {"op": "tanh", "params": {}}


def _name(victim: Certificate, _: list[Certificate]) -> None:
    victim["program"] = victim["program"].replace("*", "*unknown_", 1)


def _channel(victim: Certificate, _: list[Certificate]) -> None:
    victim["channel"] += 1


def _injected(victim: Certificate, _: list[Certificate]) -> None:
    victim["program"] = "__import__('os').getcwd()"


CORRUPT: tuple[Callable[[Certificate, list[Certificate]], None], ...] = (
    _coefficient,
    _bias,
    _understated,
    _narrow,
    _multiplier,
    _swapped,
    _head,
    _name,
    _channel,
    _injected,
)
