"""What a run was made from: its configuration and the flags above it, kept in the run's store."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth import config_rules as rules
from synth.config import TABLES, Config, load_config
from synth.errors import InputError
from synth.store import Store

if TYPE_CHECKING:
    from synth.job import Job

KIND, KEY = "origin", "run"


def listed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in which one name stands for a list of one: `search.engines=linear`."""
    many = (rules.FILES, rules.NAMES, rules.CHOICE)
    lists = {key for key, rule in _rules().items() if rule in many}
    return {k: (v,) if k in lists and isinstance(v, str) else v for k, v in settings.items()}


def record(config: Config, flags: Mapping[str, Any]) -> None:
    """Keep what a finished run was made from, with paths that hold in any working folder."""
    known = _rules()
    kept = {k: v for k, v in flags.items() if _decides(k) and v is not None and v != ()}
    kept = {k: _absolute(v) if known[k].file else v for k, v in kept.items()}
    with Store(config.out) as store:
        store.put(KIND, KEY, json.dumps({"config": str(config.path), "flags": kept}))


def job_of(folder: Path, moved: Path | None = None) -> "Job":
    """The job that a run folder came from; its configuration may have `moved`.

    Raises InputError where the input is not there or not the same any more.
    """
    from synth.job import load_job

    with Store(folder, create=False) as store:
        path, flags = _origin(store, folder)
        path = moved or path
        if not path.is_file():
            place = f"{folder} was run from {path}, which does not exist"
            raise InputError(f"{place}: say where it is now by --config FILE.")
        job = load_job(load_config(path, {**flags, "run.out": str(folder)}))
        _check_same(store, folder, job)
    return job


def _origin(store: Store, folder: Path) -> tuple[Path, dict[str, Any]]:
    known, description = store.get(KIND, KEY), store.description() or {}
    found = json.loads(known) if known else {"config": description.get("config"), "flags": {}}
    if not found["config"]:
        raise InputError(f"{folder} does not say what it was run from: run it again.")
    return Path(found["config"]), found["flags"]


def _check_same(store: Store, folder: Path, job: "Job") -> None:
    path, decisive = job.config.path, job.config.digest_fields()
    try:
        store.claim_identity(job.digest, {"config": str(path)} | decisive)
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
