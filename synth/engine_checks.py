"""The engines that a configuration asks for: known, installed, able, and with good settings."""

from collections.abc import Sequence

from grammars.grammar import Grammar
from synth.config import Config
from synth.engine import Engine
from synth.engines import AUTO, automatic, load_engine, missing
from synth.errors import InputError, Problems, listing
from synth.kernels.colours import axes_of
from synth.layers import Layer


def asked_engines(
    config: Config, grammar: Grammar, layers: Sequence[Layer], problems: Problems
) -> tuple[tuple[str, ...], str]:
    """The names of the engines that are asked for, each once, those among them that `auto` stands
    for, and a sentence about these. What is wrong with any is added to the problems."""
    names, note = _engine_names(config, grammar, layers)
    tried = (Problems().attempt(usable_engine, name, config) for name in names)
    engines = [engine for engine in tried if engine]
    problems.attempt(_check_able, engines, layers, grammar, config)
    problems.attempt(_check_settings, engines, grammar, config)
    return names, note


def usable_engine(name: str, config: Config) -> type[Engine] | None:
    """An engine; None for the name that stands for several. Raises InputError: unknown, broken, or
    something that it needs is not installed."""
    if name == AUTO:
        return None
    engine = load_engine(name, plugins=config.search.plugins)
    if reason := missing(engine):
        raise InputError(f"search.engines: {name!r} cannot be used here: {reason}.")
    return engine


def _engine_names(
    config: Config, grammar: Grammar, layers: Sequence[Layer]
) -> tuple[tuple[str, ...], str]:
    """The same, before anything is wrong with them."""
    names = config.search.engines
    if AUTO not in names:
        return names, ""
    found, note = automatic(lambda engine: not _unable(engine, grammar, layers))
    places = (found if name == AUTO else (name,) for name in names)
    return tuple(dict.fromkeys(name for place in places for name in place)), note


def _unable(engine: type[Engine], grammar: Grammar, layers: Sequence[Layer]) -> str | None:
    """Why an engine would find nothing in any of some layers."""
    asked = getattr(engine, "unable", None)
    return asked(grammar, layers) if asked else None


def _check_able(
    engines: Sequence[type[Engine]], layers: Sequence[Layer], grammar: Grammar, config: Config
) -> None:
    """Raises InputError where an engine, or colour, has nothing to do in any of the layers."""
    with Problems() as problems:
        for engine in engines:
            if reason := _unable(engine, grammar, layers):
                problems.add(f"search.engines: {engine.name!r} would find nothing: {reason}.")
        read = sorted({la.in_shape[0] for la in layers})
        if "colour" in config.search.tags and not any(axes_of(grammar, "", n) for n in read):
            channels = listing(map(str, read))
            problems.add(
                "search.tags: 'colour' is of banks of 3 channels, and the layers read banks of "
                f"{channels}: leave the tag out."
            )


def _check_settings(engines: Sequence[type[Engine]], grammar: Grammar, config: Config) -> None:
    """Raises InputError where what an engine is to be made with is no good, or nobody's."""
    templates = config.search.templates
    with Problems() as problems:
        asking = [e for e in engines if "templates" in getattr(e, "settings", ())]
        for engine in asking:
            problems.attempt(engine.check, templates, grammar)  # type: ignore[attr-defined]
        if templates and not asking:
            problems.add(
                "search.templates: no engine reads them: add 'template' to search.engines."
            )
