"""Readable names for taps and banks: tables for printing and parsing only, so that renaming
changes no key.
"""

import keyword
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property

from grammars.program import PRE, Node, tap
from grammars.program import bank as bank_of

_TAP = re.compile(
    r"(?:shift\()?(?P<pre>pre\()?(?P<name>\w+)\)?(?:, dy=(?P<dy>-?\d+))?(?:, dx=(?P<dx>-?\d+))?\)?"
)


class Names:
    """(bank, channel) ↔ identifier, one to one, and whole banks ↔ identifiers.

    A bank's name is its path made an identifier, and a channel's by default that, an underscore and
    its number: `conv1_3`, `features_0_12`, `input_5`. Banks whose identifiers would clash get a
    number.
    """

    def __init__(
        self,
        banks: Mapping[str, int],
        *,
        given: Mapping[tuple[str, int], str] | None = None,
        reserved: Iterable[str] = (),
    ) -> None:
        """`banks` maps each bank to its channels; `given` names override; `reserved` are kept free.

        Raises ValueError where two taps would get one name or a name is no identifier.
        """
        reserved = set(reserved)
        taken = set(reserved)
        self._names: dict[tuple[str, int], str] = dict(given or {})
        self._banks: dict[str, Node] = {}
        for bank, channels in banks.items():
            stem = _free(identifier(bank), taken)
            taken.add(stem)
            self._banks[stem] = bank_of(bank, channels)
            for channel in range(channels):
                self._names.setdefault((bank, channel), f"{stem}_{channel}")
        self._taps = {name: key for key, name in self._names.items()}
        _check(self._names, self._taps, reserved | self._banks.keys())

    def of(self, bank: str, channel: int) -> str:
        """The name of a channel. Raises KeyError for a channel that no bank has."""
        try:
            return self._names[bank, channel]
        except KeyError:
            raise KeyError(f"no bank {bank!r} with channel {channel} is known") from None

    def tap(self, name: str) -> tuple[str, int] | None:
        """The (bank, channel) of a name, or None."""
        return self._taps.get(name)

    def bank(self, name: str) -> Node | None:
        """The whole bank of a name, or None."""
        return self._banks.get(name)

    def of_bank(self, bank: Node) -> str:
        """The name of a whole bank. Raises KeyError for one that is unknown, or of other size."""
        for name, known in self._banks.items():
            if known == bank:
                return name
        raise KeyError(f"no bank {bank['name']!r} of {bank['channels']} channels is known")

    def __iter__(self) -> Iterator[str]:
        return iter(self._taps)

    def part(self, banks: Collection[str]) -> "Names":
        """The names of some banks and their channels alone."""
        found = Names({}, given={key: n for key, n in self._names.items() if key[0] in banks})
        found._banks = {s: node for s, node in self._banks.items() if node["name"] in banks}
        return found

    @property
    def stems(self) -> Collection[str]:
        """What whole banks are called."""
        return self._banks.keys()

    def stem(self, bank: str) -> str | None:
        """What a bank is called as a whole, or None."""
        return next((stem for stem, node in self._banks.items() if node["name"] == bank), None)

    def of_tap(self, tap: Node) -> str:
        """The name of a tap's channel, its offset and `pre` aside."""
        bank, channel = str(tap["bank"]).removesuffix(PRE), int(tap["channel"])  # type: ignore[arg-type]
        return self.of(bank, channel)

    @cached_property
    def texts(self) -> Mapping[Node, str]:
        """How each tap is written, which is found when it is asked for."""
        return _Texts(self)

    @cached_property
    def read(self) -> Mapping[str, Node]:
        """The tap of each text that `texts` has; KeyError for other names, which are none."""
        return _Taps(self)


class _Texts(dict[Node, str]):
    """`pre(…)` of a pre-activation, and `shift(…)` off the centre; programs share their taps."""

    def __init__(self, names: Names) -> None:
        super().__init__()
        self._of_tap = names.of_tap

    def __missing__(self, tap: Node) -> str:
        name = self._of_tap(tap)
        if str(tap["bank"]).endswith(PRE):
            name = f"pre({name})"
        offsets = [f"{k}={tap[k]}" for k in ("dy", "dx") if tap[k]]
        self[tap] = f"shift({', '.join([name, *offsets])})" if offsets else name
        return self[tap]


class _Taps(dict[str, Node]):
    """The inverse of `_Texts`, for texts of its form alone."""

    def __init__(self, names: Names) -> None:
        super().__init__()
        self._tap = names.tap

    def __missing__(self, text: str) -> Node:
        found = _TAP.fullmatch(text)
        known = found and self._tap(found["name"])
        if not found or not known:
            raise KeyError(text)
        bank, channel = known
        offsets = (int(found[k] or 0) for k in ("dy", "dx"))
        self[text] = tap(bank + PRE if found["pre"] else bank, channel, *offsets)
        return self[text]


def identifier(path: str) -> str:
    """A module path as a Python identifier."""
    name = re.sub(r"\W", "_", path, flags=re.ASCII) or "bank"
    if name[0].isdigit():
        name = f"m{name}"
    return f"{name}_" if keyword.iskeyword(name) else name


def _free(stem: str, taken: set[str]) -> str:
    """`stem`, or it with the first number that keeps all its channels apart from other banks'."""
    number, name = 1, stem
    while any(name == t or _numbered(name, t) or _numbered(t, name) for t in taken):
        number += 1
        name = f"{stem}_b{number}"
    return name


def _numbered(stem: str, other: str) -> bool:
    return re.fullmatch(re.escape(stem) + r"(_\d+)+", other) is not None


def _check(
    names: Mapping[tuple[str, int], str], taps: Mapping[str, tuple[str, int]], reserved: set[str]
) -> None:
    for key, name in names.items():
        if taps[name] != key:
            raise ValueError(f"{key} and {taps[name]} share the name {name!r}: give one another")
        if name in reserved:
            raise ValueError(f"{name!r} cannot name {key}: it is the name of a primitive or a bank")
        if not _is_identifier(name):
            raise ValueError(f"{name!r} cannot name {key}: expected a Python identifier")


def _is_identifier(name: str) -> bool:
    """An identifier that Python reads back as itself (it normalises to NFKC, PEP 3131)."""
    normal = unicodedata.normalize("NFKC", name)
    return name == normal and name.isidentifier() and not keyword.iskeyword(name)
