"""Who is called what in the emitted file, so that nothing hides anything else."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from grammars.names import Names, identifier
from grammars.primitive import Primitive
from synth.emission.helpers import RESERVED, support_names, words_of
from synth.emission.kernels import is_kernel, local_words
from synth.network import Network


@dataclass(frozen=True, eq=False)
class Identifiers:
    """Names of the emitted file: primitives and units come first, all others keep clear of them."""

    taken: set[str]
    support: dict[str, str] = field(default_factory=dict)
    banks: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def of(
        network: Network, names: Names, primitives: Iterable[Primitive], carried: Iterable[str] = ()
    ) -> "Identifiers":
        """`carried` are the names that the sources of the primitives bring along."""
        primitives = list(primitives)
        result = Identifiers({"pre", *RESERVED, *names, *(p.name for p in primitives), *carried})
        inner = words_of(primitives) - result.taken  # arguments hide what helpers call
        inner |= {w for p in primitives if is_kernel(p) for w in local_words(p)} - result.taken
        result.taken.update(inner)
        for name in support_names():
            result.support[name] = name if name == "pre" else result.free(name)
        result.taken.difference_update(inner)
        for bank in network.banks:
            result.banks[bank] = result.free(_stem(bank, names))
        return result

    def table(self, stem: str) -> tuple[str, str]:
        """New names for the weight and the bias of a table."""
        return self.free(f"{stem}_WEIGHT"), self.free(f"{stem}_BIAS")

    def free(self, stem: str) -> str:
        """`stem`, or it with a number that makes it new."""
        name, count = stem, 1
        while name in self.taken:
            count += 1
            name = f"{stem}_b{count}"
        self.taken.add(name)
        return name


def _stem(bank: str, names: Names) -> str:
    """What the names of a bank's units begin with, if they say no more than that."""
    return names.stem(bank) or identifier(bank)
