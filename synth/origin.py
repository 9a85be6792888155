"""What a run was made from: its configuration and the flags above it, kept in the run's store."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth import config_rules as rules
from synth.config import TABLES, Config, load_config
from synth.errors import InputError
from synth.folder import GIVEN, GIVEN_CONFIG
from synth.store import Store

if TYPE_CHECKING:
    from synth.asked import Asked
    from synth.job import Job

KIND, KEY = "origin", "run"


def listed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in which one name stands for a list of one: `search.engines=linear`."""
    many = (rules.FILES, rules.NAMES, rules.CHOICE)
    lists = {key for key, rule in _rules().items() if rule in many}
    return {k: (v,) if k in lists and isinstance(v, str) else v for k, v in settings.items()}


def record(config: Config, flags: Mapping[str, Any], asked: "Asked | None" = None) -> None:
    """Keep what a finished run was made from, with paths that hold in any working folder.

    `asked` is what a choice among the fronts of another run was to hold.
    """
    known = _rules()
    kept = {k: v for k, v in flags.items() if _decides(k) and v is not None and v != ()}
    kept = {k: _absolute(v) if known[k].file else v for k, v in kept.items()}
    with Store(config.out) as store:
        given = {} if asked is None else {"asked": asdict(asked)}
        store.put(KIND, KEY, json.dumps({"config": str(config.path), "flags": kept} | given))


def job_of(folder: Path, moved: Path | None = None) -> "Job":
    """The job that a run folder came from; its configuration may have `moved`.

    Raises InputError where the input is not there or not the same any more.
    """
    from synth.asked import Asked
    from synth.job import load_job

    with Store(folder, create=False) as store:
        found = _origin(store, folder)
        path = moved or _configuration(folder, found)
        if not path.is_file():
            place = f"{folder} was run from {path}, which does not exist"
            raise InputError(f"{place}: say where it is now by --config FILE.")
        job = load_job(load_config(path, {**found["flags"], "run.out": str(folder)}))
        job = replace(job, asked=Asked(**found["asked"]) if "asked" in found else None)
        _check_same(store, folder, job)
    return job


def flags_of(folder: Path) -> dict[str, Any]:
    """The flags above the configuration that decided what is in a run folder."""
    with Store(folder, create=False) as store:
        return _origin(store, folder)["flags"]


def _origin(store: Store, folder: Path) -> dict[str, Any]:
    known, description = store.get(KIND, KEY), store.description() or {}
    found = json.loads(known) if known else {"config": description.get("config"), "flags": {}}
    if not found["config"]:
        raise InputError(f"{folder} does not say what it was run from: run it again.")
    return found


def _configuration(folder: Path, found: Mapping[str, Any]) -> Path:
    """Where it was, or in the run folder itself, which may have moved."""
    path, inside = Path(found["config"]), folder / GIVEN / GIVEN_CONFIG
    return inside if not path.is_file() and inside.is_file() else path


def _check_same(store: Store, folder: Path, job: "Job") -> None:
    path = job.config.path
    try:
        store.claim_identity(job.digest, job.description)
    except InputError as error:
        _, _, reason = error.problems[0].partition("What differs:\n")
        advice = "restore it, or run it into another folder"
        text = f"{path} is not what {folder} was run from: {advice}. What differs:"
        raise InputError(f"{text}\n{reason}") from error


def _decides(key: str) -> bool:
    """Whether a key decides a program: of how to run only the seed does, and the layers do not."""
    return key != "search.layers" and (not key.startswith("run.") or key == "run.seed")


def _rules() -> dict[str, rules.Rule]:
    """What each key of the configuration accepts."""
    pairs = ((table, field) for table, kind in TABLES.items() for field in fields(kind))
    return {f"{table}.{field.name}": field.metadata["rule"] for table, field in pairs}


def _absolute(value: str | Iterable[str]) -> str | list[str]:
    if isinstance(value, str):
        return os.path.abspath(value)
    return [os.path.abspath(path) for path in value]
