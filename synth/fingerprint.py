"""What results depend on beside their input: this package's own code and the libraries under it."""

from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from grammars.primitive import normalised_source
from synth.keys import content_key

PACKAGES = ("grammars", "oracles", "synth")
LIBRARIES = ("numpy", "scipy", "torch", "z3-solver")


@lru_cache(maxsize=1)
def code_digest() -> str:
    """A hash of the code, comments and layout aside, and of the libraries' versions.

    It is part of every key, so results of another version of a search are never served as this
    one's.
    """
    root = Path(__file__).parent.parent
    files = sorted(p for name in PACKAGES for p in (root / name).rglob("*.py"))
    sources = [normalised_source(p.read_text(encoding="utf-8")) for p in files]
    return content_key(sources, [version(name) for name in LIBRARIES])
