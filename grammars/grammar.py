"""A grammar: the primitives that a search may use, found on demand and selected by tag and weight.

Primitives come from the core folder, from installed packages (entry point group
`synth.primitives`, each naming a module) and from a user's own files.
"""

import hashlib
import importlib.metadata
import importlib.util
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType

from grammars.primitive import STRUCTURE, Declaration, Primitive, define
from grammars.program import Sort

ENTRY_POINTS = "synth.primitives"


class GrammarError(ValueError):
    """Everything that is wrong with a grammar, one problem a line."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Grammar(Mapping[str, Primitive]):
    """Primitives by name, with the weights that price them."""

    primitives: tuple[Primitive, ...]

    @cached_property
    def _by_name(self) -> dict[str, Primitive]:
        return {p.name: p for p in self.primitives}

    def __getitem__(self, name: str) -> Primitive:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self.primitives)

    def __reduce__(self):  # decorated functions do not pickle: find them again by module and file
        parts = [(p.body.__module__, p.path, p.core, p.name, p.weight) for p in self.primitives]
        return _restored, (parts,)

    @property
    def user(self) -> tuple[Primitive, ...]:
        """The primitives outside the core, whose source a program has to carry."""
        return tuple(p for p in self.primitives if not p.core)

    def words_for(self, sort: Sort) -> Mapping[str, str]:
        """The prefix code of the operations that may stand where `sort` is wanted, from their
        weights."""
        return self._words[sort]

    def meanings_for(self, sort: Sort) -> Mapping[str, str]:
        """The operations by their words."""
        return self._meanings[sort]

    @cached_property
    def _words(self) -> dict[Sort, dict[str, str]]:
        from grammars.stream import huffman  # here, because numpy is slow to import

        able = {sort: [p for p in self.primitives if fits(p, sort)] for sort in Sort}
        weights = {sort: {p.name: p.weight for p in found} for sort, found in able.items() if found}
        return {sort: huffman(known) for sort, known in weights.items()}

    @cached_property
    def _meanings(self) -> dict[Sort, dict[str, str]]:
        pairs = self._words.items()
        return {sort: {word: name for name, word in words.items()} for sort, words in pairs}

    @cached_property
    def digest(self) -> str:
        """A hash of the sources (comments and layout aside) and weights."""
        parts = (f"{p.name}\0{p.weight!r}\0{p.fingerprint}" for p in self.primitives)
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def load_grammar(
    *,
    files: Iterable[Path] = (),
    tags: Iterable[str] | None = ("core",),
    weights: Mapping[str, float] | None = None,
    installed: bool = True,
) -> Grammar:
    """The structural primitives, those that carry one of `tags`, or all, and all of `files`.

    `weights` overrides prior frequencies by name. Raises GrammarError with every problem: a file
    that cannot be read or raises, a primitive without sorts, a name defined twice, a tag that no
    primitive carries, an unknown name or a weight that is not a positive number.
    """
    problems: list[str] = []
    everything = [*_core(), *(_installed(problems) if installed else ())]
    found = everything if tags is None else _tagged(everything, tags, problems)
    found = [*found, *(p for path in files for p in _from_file(Path(path), problems))]
    found = _weighted(_unique(found, problems), weights or {}, problems)
    if problems:
        raise GrammarError(problems)
    return Grammar(tuple(sorted(found, key=lambda p: p.name)))


def fits(primitive: Primitive, sort: Sort) -> bool:
    """Whether what a primitive gives may stand where `sort` is wanted.

    An atom is a value too, and a sum of atoms is an atom.
    """
    if sort is Sort.FIELD:
        return primitive.result in (Sort.FIELD, Sort.ATOM)
    return primitive.result is sort or (sort is Sort.ATOM and primitive.name == "linear")


def _restored(parts: Iterable[tuple[str, Path, bool, str, float]]) -> Grammar:
    """A pickled grammar in another process; user files are read again."""
    found = []
    for name, path, core, primitive, weight in parts:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            module = _import(path)
        by_name = {p.name: p for p in _declared(module, path, core=core)}
        found.append(replace(by_name[primitive], weight=weight))
    return Grammar(tuple(found))


def _core() -> list[Primitive]:
    folder = Path(__file__).parent / "primitives"
    found = []
    for path in sorted(folder.glob("[!_]*.py")):
        module = importlib.import_module(f"grammars.primitives.{path.stem}")
        found += _declared(module, path, core=True)
    return found


def _installed(problems: list[str]) -> list[Primitive]:
    found = []
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            module = point.load()
            found += _declared(module, Path(module.__file__), core=False)
        except Exception as error:  # a broken plug-in is a problem to read, not a traceback
            problems.append(f"entry point {point.name!r}: {type(error).__name__}: {error}")
    return found


def _from_file(path: Path, problems: list[str]) -> list[Primitive]:
    if path.suffix != ".py" or not path.is_file():
        problems.append(f"grammar file {path} does not exist or is no .py file")
        return []
    try:
        found = _declared(_import(path), path, core=False)
    except Exception as error:
        problems.append(f"grammar file {path}: {type(error).__name__}: {error}")
        return []
    if not found:
        problems.append(
            f"grammar file {path} declares no primitive: decorate one with @primitive()"
        )
    return found


def _import(path: Path) -> ModuleType:
    digest = hashlib.blake2b(str(path.resolve()).encode(), digest_size=8).hexdigest()
    name = f"grammar_file_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a .py path always has a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # type hints and dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _declared(module: ModuleType, path: Path, *, core: bool) -> list[Primitive]:
    found = [v for v in vars(module).values() if isinstance(v, Declaration)]
    own = [d for d in found if d.body.__module__ == module.__name__]
    return [define(d, core=core, path=path) for d in own]


def _tagged(found: list[Primitive], tags: Iterable[str], problems: list[str]) -> list[Primitive]:
    wanted, known = set(tags), {tag for p in found for tag in p.tags}
    problems += [
        f"no primitive has the tag {tag!r}; known are {', '.join(sorted(known))}"
        for tag in sorted(wanted - known)
    ]
    return [p for p in found if p.tags & wanted or (p.core and p.name in STRUCTURE)]


def _unique(found: list[Primitive], problems: list[str]) -> list[Primitive]:
    by_name: dict[str, Primitive] = {}
    for primitive in found:
        if primitive.name in by_name:
            places = f"{by_name[primitive.name].path} and {primitive.path}"
            problems.append(f"primitive {primitive.name!r} is defined in {places}: rename one")
        by_name[primitive.name] = primitive
    return list(by_name.values())


def _weighted(
    found: list[Primitive], weights: Mapping[str, float], problems: list[str]
) -> list[Primitive]:
    names = sorted(p.name for p in found)
    for name, weight in weights.items():
        if name not in names:
            problems.append(f"weight for unknown primitive {name!r}; known are {', '.join(names)}")
        elif not (isinstance(weight, int | float) and weight > 0 and math.isfinite(weight)):
            problems.append(f"the weight of {name!r} is a positive number, not {weight!r}")
    if problems:
        return found
    return [replace(p, weight=float(weights.get(p.name, p.weight))) for p in found]
