"""The TOML file of a run: its schema as data, read with every problem told at once."""

import fnmatch
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from synth import config_rules as rules
from synth.errors import InputError, Problems, listing, nearest
from synth.files import missing_file


def _key(rule: rules.Rule, default: Any = MISSING) -> Any:
    return field(default=default, metadata={"rule": rule})


@dataclass(frozen=True)
class NetworkConfig:
    """Where the network comes from: a function that returns it, or a file that holds it.

    A factory is Python that is run, with its weights in a file of their own if not inside; nothing
    in a model file is run. `output` is the one of several outputs that is judged: its name or
    index, the first by default. `values` are all that a number of the inputs may be: what the
    network decides is then proved for all inputs (`synth.discrete`). With a `threshold` each output
    is a decision by itself, yes above it.
    """

    factory: str | None = _key(rules.FACTORY, None)
    weights: str | None = _key(rules.FILE, None)
    file: str | None = _key(rules.MODEL, None)
    output: str | int | None = _key(rules.OUTPUT, None)
    values: tuple[float, ...] = _key(rules.VALUES, ())
    threshold: float | None = _key(rules.NUMBER, None)

    @property
    def source(self) -> str:
        """The factory, or the model file."""
        return self.factory or self.file or ""


@dataclass(frozen=True)
class ProbesConfig:
    """Inputs to record; `held_out` is a share of all, `select` a share of what then remains.

    Several references are the inputs of a network that takes several, in the order of `forward`.
    """

    inputs: str | tuple[str, ...] = _key(rules.ARRAYS)
    labels: str | None = _key(rules.ARRAY, None)
    test_inputs: str | tuple[str, ...] | None = _key(rules.ARRAYS, None)
    test_labels: str | None = _key(rules.ARRAY, None)
    held_out: float = _key(rules.PROPER, 0.3)
    select: float = _key(rules.PROPER, 0.3)


@dataclass(frozen=True)
class SearchConfig:
    """ε is `max_error` times the unit's range on fit; `budget` counts evaluations.

    `plugins` says whether installed packages may add primitives and engines. `basis` is a file of
    directions that get programs beside the units (`synth.basis`). A layer needs
    `patches_per_weight` of a unit on fit. `families` says whether units of one form are sought,
    which are then written together (`synth.families`). `templates` are a user's own shapes for
    the engine "template" (`synth.formulas.templates`). `deep` is an earlier bank, as "input", that
    the units of the layers behind it are written over too, or pairs of a bank and an earlier one
    (`synth.deep`).
    """

    layers: tuple[str, ...] = _key(rules.NAMES, ("*",))
    max_fvu: float = _key(rules.SHARE, 0.05)
    max_error: float = _key(rules.POSITIVE, 0.25)
    engines: tuple[str, ...] = _key(rules.NAMES, ("linear",))
    grammar: tuple[str, ...] = _key(rules.FILES, ())
    tags: tuple[str, ...] = _key(rules.NAMES, ("core",))
    weights: tuple[tuple[str, float], ...] = _key(rules.WEIGHTS, ())
    budget: int = _key(rules.COUNT, 2000)
    basis: str | None = _key(rules.BASIS, None)
    plugins: bool = _key(rules.FLAG, True)
    patches_per_weight: float = _key(rules.POSITIVE, 2.0)
    families: bool = _key(rules.FLAG, True)
    templates: tuple[str, ...] = _key(rules.NAMES, ())
    deep: str | tuple[tuple[str, str], ...] | None = _key(rules.BANKS, None)


@dataclass(frozen=True)
class AcceptConfig:
    """`margin` of accuracy holds on held-out; KL (nats) and agreement hold on select.

    Of what holds, the fewest bits are chosen; with `bits` below 1, the least KL among choices of at
    most this share of the 32-bit size of the layers that are searched, whether it holds or not.
    With `short`, programs that do not count as short are charged the bits of their unit's own
    weights on top when programs are chosen: short ones stand more often, at the same KL. With
    `joint`, the constants of all programs of a choice are refined together (`synth.joint`).
    """

    margin: float = _key(rules.PROPER, 0.01)
    max_kl: float = _key(rules.POSITIVE, 0.01)
    min_agreement: float = _key(rules.SHARE, 0.99)
    bits: float = _key(rules.SHARE, 1.0)
    short: bool = _key(rules.FLAG, False)
    joint: bool = _key(rules.FLAG, False)


@dataclass(frozen=True)
class RunConfig:
    """How to run; only the seed, and the roundings of a device, change what comes out.

    A unit may take `unit_seconds` and `unit_memory_mib` (0: no limit), and is tried again `retries`
    times where its worker hangs, dies or fails. `scheduler` is the address of a cluster. A run that
    is expected to take more than `max_memory_mib` does not start (0: what the machine has).
    `controls` are what the result is compared with; "shuffled" costs as much as the search itself.
    """

    seed: int = _key(rules.SEED, 0)
    controls: tuple[str, ...] = _key(rules.CHOICE, rules.CONTROLS)
    jobs: int = _key(rules.COUNT, 1)
    device: str = _key(rules.DEVICE, "cpu")
    backend: str = _key(rules.BACKEND, "loky")
    scheduler: str = _key(rules.ADDRESS, "")
    unit_seconds: float = _key(rules.LIMIT, 600.0)
    unit_memory_mib: int = _key(rules.WHOLE, 0)
    max_memory_mib: int = _key(rules.WHOLE, 0)
    retries: int = _key(rules.WHOLE, 1)
    out: str = _key(rules.PATH, "")
    quiet: bool = _key(rules.FLAG, False)


@dataclass(frozen=True)
class Config:
    """One run. Paths of inputs are as written: relative to `folder`, where the file stands."""

    path: Path
    network: NetworkConfig
    probes: ProbesConfig
    search: SearchConfig
    accept: AcceptConfig
    run: RunConfig

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def out(self) -> Path:
        """The run's folder, absolute; by default `results/<config stem>` where one works."""
        return Path(self.run.out or Path("results") / self.path.stem).absolute()

    @property
    def basis(self) -> Path | None:
        """The file of directions, if there is one."""
        return None if self.search.basis is None else self.folder / self.search.basis

    def digest_fields(self) -> dict[str, dict[str, Any]]:
        """JSON-able content that decides a run's results.

        Left out: of [run] all but seed and device, which changes no program, and layers, which may
        be run one after another into one folder.
        """
        tables = {name: asdict(getattr(self, name)) for name in TABLES}
        tables["search"]["weights"] = dict(self.search.weights)
        for name in ("layers", "engines", "grammar", "tags", "templates"):
            tables["search"][name] = list(tables["search"][name])
        tables["network"]["values"] = list(tables["network"]["values"])
        del tables["search"]["layers"]
        tables["run"] = {"seed": self.run.seed, "device": self.run.device}
        for name in ("inputs", "test_inputs"):
            given = tables["probes"][name]
            tables["probes"][name] = list(given) if isinstance(given, tuple) else given
        return tables


TABLES: Mapping[str, type] = {
    "network": NetworkConfig,
    "probes": ProbesConfig,
    "search": SearchConfig,
    "accept": AcceptConfig,
    "run": RunConfig,
}


@dataclass(frozen=True)
class _Given:
    """A value as the user wrote it, where, and the folder that its relative paths start from."""

    value: object
    place: str
    base: Path


def load_config(
    path: str | os.PathLike[str],
    overrides: Mapping[str, object] | None = None,
    *,
    said: str = "command line: ",
) -> Config:
    """Reads a run's TOML; `overrides` such as {"run.seed": 1} (flags) stand above it.

    An override of None or () is a flag that was not given; `said` is what messages put before its
    name. Its paths are relative to the working folder, the file's to the file's folder. Raises one
    InputError with every problem.
    """
    path = Path(os.path.abspath(path))
    values: dict[str, dict[str, Any]] = {}
    with Problems() as problems:
        given = _given_by_file(_read_toml(path), path, problems)
        given |= _given_by_flags(overrides or {}, said)
        _report_unknown(given, problems)
        values |= {name: _read_table(name, given, path, problems) for name in TABLES}
        problems.add(*_network_problems(given, path))
        if "probes.test_labels" in given and "probes.test_inputs" not in given:
            place = given["probes.test_labels"].place
            problems.add(f"{place}: stands without probes.test_inputs; give both or neither.")
    return Config(path, **{name: TABLES[name](**values[name]) for name in TABLES})


def select_layers(patterns: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """The layers, in the order of `names`, that a pattern matches; each pattern must match one.

    A pattern is a name or an fnmatch glob. Raises InputError with the near names.
    """
    patterns, names = list(patterns), list(names)
    with Problems() as problems:
        for pattern in patterns:
            if not any(_matches(name, pattern) for name in names):
                hint = nearest(pattern, names)
                problems.add(f"search.layers: no layer is called or matches {pattern!r}.{hint}")
    return tuple(name for name in names if any(_matches(name, p) for p in patterns))


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatch.fnmatchcase(name, pattern)


def _read_toml(path: Path) -> dict[str, Any]:
    if problem := missing_file(path):
        raise InputError(f"configuration {problem}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error


def _given_by_file(tables: dict[str, Any], path: Path, problems: Problems) -> dict[str, _Given]:
    """Values by dotted key; a table that is unknown or no table is a problem here."""
    given: dict[str, _Given] = {}
    for table, keys in tables.items():
        if table not in TABLES:
            hint = _homes(table) or nearest(table, TABLES)
            problems.add(f"{path}: unknown table or key '{table}'.{hint}")
        elif not isinstance(keys, dict):
            problems.add(f"{path}: {table} = {keys!r}, expected a table [{table}].")
        else:
            for key, value in keys.items():
                dotted = f"{table}.{key}"
                given[dotted] = _Given(value, f"{path}: {dotted}", path.parent)
    return given


def _given_by_flags(overrides: Mapping[str, object], said: str) -> dict[str, _Given]:
    return {
        dotted: _Given(value, f"{said}{dotted}", Path.cwd())
        for dotted, value in overrides.items()
        if value is not None and value != ()
    }


def _report_unknown(given: Mapping[str, _Given], problems: Problems) -> None:
    for dotted, entry in given.items():
        table, _, key = dotted.partition(".")
        known = [f.name for f in fields(TABLES[table])] if table in TABLES else []
        if key not in known:
            hint = _homes(key) or nearest(key, known)
            problems.add(f"{entry.place} = {entry.value!r}: unknown key '{key}'.{hint}")


def _homes(key: str) -> str:
    """Where a misplaced key belongs, if it is a key of some table."""
    homes = [name for name, table in TABLES.items() if key in (f.name for f in fields(table))]
    return f" '{key}' belongs in [{listing(homes)}]." if homes else ""


def _read_table(
    table: str, given: Mapping[str, _Given], path: Path, problems: Problems
) -> dict[str, Any]:
    """The checked values that were given for one table; the dataclass has the defaults."""
    values: dict[str, Any] = {}
    for key in fields(TABLES[table]):
        entry = given.get(f"{table}.{key.name}")
        if entry:
            values[key.name] = _read_value(key, entry, path.parent, problems)
        elif key.default is MISSING:
            expected = key.metadata["rule"].expected
            problems.add(f"{path}: {table}.{key.name} is missing, expected {expected}.")
    return values


def _network_problems(given: Mapping[str, _Given], path: Path) -> Iterator[str]:
    """A network has one source, and only a factory takes weights."""
    factory, file, weights = (given.get(f"network.{n}") for n in ("factory", "file", "weights"))
    if not factory and not file:
        other = f"or network.file, {rules.MODEL.expected}"
        expected = rules.FACTORY.expected
        yield f"{path}: network.factory is missing, expected {expected}; {other}."
    if factory and file:
        both = f"{factory.place} = {factory.value!r} and {file.place} = {file.value!r}"
        yield f"{both}: the network has two sources; give only one of them."
    values, threshold = (given.get(f"network.{n}") for n in ("values", "threshold"))
    if threshold and not values:
        stands = f"{threshold.place} = {threshold.value!r} stands without network.values"
        yield f"{stands}: say what values inputs have, or leave it out."
    if file and weights:
        advice = "a model file holds its own; leave it out"
        yield f"{weights.place} = {weights.value!r} stands beside network.file: {advice}."


def _read_value(key: Field[Any], entry: _Given, folder: Path, problems: Problems) -> Any:
    rule: rules.Rule = key.metadata["rule"]
    if not rule.accepts(entry.value):
        problems.add(f"{entry.place} = {entry.value!r}, expected {rule.expected}.")
        return None
    value = rule.convert(entry.value)
    if rule is rules.PATH:
        return str(entry.base / value)
    if rule.file is None:
        return value
    return _located(value, rule, entry, folder, problems)


def _located(value: Any, rule: rules.Rule, entry: _Given, folder: Path, problems: Problems) -> Any:
    """Paths as relative to the configuration's folder, once it is sure that the files exist."""
    assert rule.file is not None
    for text in value if isinstance(value, tuple) else (value,):
        if problem := missing_file(rule.file(text, entry.base)):
            problems.add(f"{entry.place} = {text!r}: {problem}")
    if isinstance(value, tuple):
        return tuple(_moved(text, entry.base, folder) for text in value)
    return _moved(value, entry.base, folder)


def _moved(text: str, base: Path, folder: Path) -> str:
    """The path of a flag as if it stood in the file, so that both identify the same run."""
    if base == folder and not Path(text).is_absolute():
        return text
    path = Path(os.path.abspath(base / text))
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
