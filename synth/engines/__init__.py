"""The engines that come with the package, one a file."""

from synth.engine import Engine
from synth.engines.linear import LinearEngine

ENGINES: dict[str, type[Engine]] = {"linear": LinearEngine}
