"""What is installed here, and what is lacking for what: the rows of `synth doctor`."""

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

PACKAGE = "neuron-synth"
OK, MISSING, OLD, BROKEN = "ok", "missing", "too old", "broken"


@dataclass(frozen=True)
class Part:
    """One thing: its `kind`, whether it is `ok`, what was `found`, and what to do where it is not.

    Without what is `needed` nothing runs.
    """

    kind: str
    name: str
    state: str
    found: str = ""
    advice: str = ""
    needed: bool = False


def parts() -> Iterator[Part]:
    """Everything, what is needed first."""
    known = metadata(PACKAGE)
    yield Part("package", PACKAGE, OK, known["Version"], needed=True)
    yield _python(known["Requires-Python"])
    required = [Requirement(text) for text in known.get_all("Requires-Dist") or ()]
    for one in required:
        if _applies(one, ""):
            yield _needed(one)
    yield from _devices()
    yield from _engines()
    for extra in known.get_all("Provides-Extra") or ():
        yield _extra(extra, [r for r in required if _applies(r, extra) and not _applies(r, "")])


def _python(wanted: str) -> Part:
    found = platform.python_version()
    state = OK if SpecifierSet(wanted).contains(found, prereleases=True) else OLD
    advice = "" if state == OK else f"install Python {wanted}"
    return Part("python", "python", state, f"{found} on {sys.platform}", advice, needed=True)


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _needed(requirement: Requirement) -> Part:
    found = _version(requirement.name)
    state = _state(requirement, found)
    advice = "" if state == OK else f"pip install '{requirement.name}{requirement.specifier}'"
    return Part("dependency", requirement.name, state, found or "", advice, needed=True)


def _state(requirement: Requirement, found: str | None) -> str:
    if found is None:
        return MISSING
    return OK if requirement.specifier.contains(found, prereleases=True) else OLD


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> Iterator[Part]:
    """The processor, and the accelerators that torch finds."""
    from synth.machine import available
    from synth.runs import size_text

    free = available()
    memory = "" if free is None else f", {size_text(free)} of memory free"
    yield Part("device", "cpu", OK, f"{os.cpu_count()} cores{memory}")
    try:
        import torch
    except ImportError as error:
        yield Part("device", "cuda", BROKEN, "", f"torch cannot be imported: {error}")
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for number in range(count):
        size = size_text(torch.cuda.get_device_properties(number).total_memory)
        yield Part("device", f"cuda:{number}", OK, f"{torch.cuda.get_device_name(number)}, {size}")
    if not count:
        advice = "torch finds none; runs are made on the processor"
        yield Part("device", "cuda", MISSING, "", advice)


def _engines() -> Iterator[Part]:
    """The engines that users may name, and what each of them lacks."""
    from synth.engines import AUTO, engine_names
    from synth.errors import InputError

    for name in engine_names():
        if name == AUTO:
            continue
        try:
            reason, state = _lack(name), MISSING
        except (InputError, ImportError) as error:
            reason, state = str(error).splitlines()[-1].strip(" -"), BROKEN
        yield Part("engine", name, state if reason else OK, "", reason or "")


def _lack(name: str) -> str | None:
    from synth.engines import load_engine, missing

    return missing(load_engine(name))


def _extra(extra: str, required: list[Requirement]) -> Part:
    """Something that is needed for one thing alone."""
    pairs = [(one, _version(one.name)) for one in required]
    lacks = [f"'{one.name}{one.specifier}'" for one, found in pairs if _state(one, found) != OK]
    found = ", ".join(f"{one.name} {number}" for one, number in pairs if number)
    if not lacks:
        return Part("extra", extra, OK, found)
    return Part("extra", extra, MISSING, found, f"pip install {' '.join(lacks)}")
