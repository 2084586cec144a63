"""The history of checks: each period that was looked at, with its profile and its verdict, one file a period.

It grows and nothing in it is lost: it stands outside the report's own folder, a file appears whole or not at all,
the same period checked again replaces its own file, and two runs at once wait for each other.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from graphmill import artifact
from graphmill.drift.baseline import Past
from graphmill.drift.measures import measures
from graphmill.drift.profile import VERSION, Profile, Reference, compact
from graphmill.drift.source import Period
from graphmill.errors import UserError
from graphmill.registry.storage import locked, now, replace_text, who

STATES = ("ok", "warn", "alarm", "cold_start", "insufficient_labels", "error")
UNUSUAL = ("alarm", "error")
"""Periods with such a verdict are no part of what is usual until somebody acknowledges them."""
FOLDER = "checks"
"""Where they stand in the folder of what drift remembers."""
ADVICE = "restore it from DVC, or delete it and check that period again"


@dataclass(frozen=True)
class Check:
    """One period that was looked at."""

    file: Path
    state: str
    profile: Profile
    acknowledged: dict[str, str] | None = None
    """Who says that it is usual, when and why."""

    @property
    def accepted(self) -> bool:
        """Whether it counts as usual."""
        return self.state not in UNUSUAL or self.acknowledged is not None


def identity(reference: Reference) -> str:
    """What profiles were measured with; those of another reference are not compared with."""
    return artifact.digest_of(compact(reference).encode())[:16]


def record(folder: str | Path, reference: Reference, profile: Profile, state: str) -> Path:
    """Add a period, or replace what was known of it; an acknowledgement stays while its profile does.

    Raises:
        UserError: when the folder cannot be written, or another run holds it for long.
    """
    file = Path(folder) / f"{profile['end']}-{identity(reference)}.json"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with locked(_lock(file.parent)):
            before = _read(file) if file.exists() else None
            kept = before.acknowledged if isinstance(before, Check) and before.profile == profile else None
            _write(Check(file, state, profile, kept))
    except OSError as error:
        raise UserError(f"{file}: the history of checks cannot be written: {error.strerror or error}") from error
    return file


def acknowledge(folder: str | Path, why: str, ends: list[int] | None = None, by: str | None = None) -> list[Check]:
    """Say that what alarmed is usual from now on, so that it counts in the null.

    Args:
        folder: the history.
        why: the reason, in words.
        ends: the ends of the periods; by default all that alarmed and were not acknowledged.
        by: who says so; by default the login name.

    Returns:
        The periods that were acknowledged now, oldest first.

    Raises:
        UserError: without a reason, when there is no such period, or the folder cannot be written.
    """
    if not why.strip():
        raise UserError("an acknowledgement needs a reason: why is this usual from now on?")
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: no history of checks here; run the stage drift first")
    try:
        with locked(_lock(Path(folder))):
            chosen = [check for check in waiting(folder) if ends is None or check.profile["end"] in ends]
            unknown = set(ends or []) - {check.profile["end"] for check in chosen}
            if unknown or not chosen:
                named = f" that ends at {sorted(unknown)}" if unknown else ""
                raise UserError(f"{folder}: no period{named} waits to be acknowledged")
            said = {"by": by or who(), "at": now(), "why": why.strip()}
            found = [replace(check, acknowledged=said) for check in chosen]
            for check in found:
                _write(check)
    except OSError as error:
        raise UserError(f"{folder}: the history of checks cannot be written: {error.strerror or error}") from error
    return found


def waiting(folder: str | Path) -> list[Check]:
    """Periods that alarmed and that nobody acknowledged, oldest first."""
    return [check for check in _all(Path(folder))[0] if not check.accepted]


def joined(past: Past, folder: str | Path | None, period: Period) -> Past:
    """The past of a period: what the model brought along, then the checks since, none of which overlaps another.

    Args:
        past: the model's.
        folder: the history of checks; None, or a folder that is not there yet, adds nothing.
        period: the period in question. The past ends before it.
    """
    timed = past.reference["timed"]
    own = [profile for profile in past.history if not timed or profile["end"] <= period.start]
    checks, left_out = _all(Path(folder), past.reference) if folder is not None else ([], [])
    begun = own[-1]["end"] if own else None
    chosen: list[Check] = []
    limit = period.start if timed else period.end - 1
    for check in reversed(checks):
        start = check.profile["start"] if timed else check.profile["end"]
        if check.profile["end"] <= limit and (begun is None or start >= begun + int(not timed)):
            chosen.insert(0, check)
            limit = start if timed else start - 1
    strange = frozenset(len(own) + place for place, check in enumerate(chosen) if not check.accepted)
    history = [*own, *(check.profile for check in chosen)]
    return Past(past.reference, history, len(own), strange, tuple(left_out))


def _all(folder: Path, reference: Reference | None = None) -> tuple[list[Check], list[str]]:
    """Every readable check, oldest first, and what is wrong with the others."""
    found, left_out = [], []
    for file in folder.glob(f"*-{identity(reference) if reference else '*'}.json"):
        one = _read(file)
        if isinstance(one, str):
            left_out.append(one)
        elif reference is not None and not _measurable(one.profile, reference):
            left_out.append(f"{file.name}: damaged; {ADVICE}")
        else:
            found.append(one)
    return sorted(found, key=lambda check: (check.profile["end"], check.file.name)), sorted(left_out)


def _read(file: Path) -> Check | str:
    """A check, or what is wrong with its file."""
    try:
        document = json.loads(file.read_bytes())
        if document["version"] != VERSION:
            return f"{file.name}: profile version {document['version']}, this version reads {VERSION}"
        profile: dict[str, Any] = document["profile"]
        whole = isinstance(profile["end"], int) and isinstance(profile["start"], int)
        if not whole or document["state"] not in STATES or not isinstance(document["acknowledged"], dict | None):
            return f"{file.name}: not a check; {ADVICE}"
        return Check(file, document["state"], profile, document["acknowledged"])
    except OSError as error:
        return f"{file.name}: {error.strerror or error}"
    except (ValueError, KeyError, TypeError):
        return f"{file.name}: damaged; {ADVICE}"


def _measurable(profile: Profile, reference: Reference) -> bool:
    """Whether a profile is one of this reference; parts may be absent, but none may be anything else."""
    try:
        measures(profile, reference, 1.0, 1)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return False
    return True


def _write(check: Check) -> None:
    document = {
        "version": VERSION,
        "state": check.state,
        "acknowledged": check.acknowledged,
        "profile": check.profile,
    }
    replace_text(check.file, compact(document))


def _lock(folder: Path) -> Path:
    """Beside the folder, which holds nothing but checks."""
    return folder.parent / f".{folder.name}.lock"
