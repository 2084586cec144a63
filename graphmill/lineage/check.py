"""Verification: recompute everything that a lineage names, as far as it is there, and say what differs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from graphmill import artifact, lineage
from graphmill.errors import UserError
from graphmill.lineage import repository
from graphmill.lineage.data import dvc_hash, named_hash

State = Literal["same", "differs", "not checked"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; ``detail`` says what was found where it is not the same."""

    what: str
    state: State
    detail: str = ""


def load(folder: Path) -> dict[str, Any]:
    """The lineage of an artifact, its seal checked, the artifact itself not.

    Raises:
        UserError: when there is none, or it was altered.
    """
    found = artifact.read_lineage(folder)
    if found is None:
        raise UserError(f"{folder}: no {artifact.LINEAGE} here; give the folder of an artifact")
    return found


def verify(
    folder: Path, artifacts: Path | None = None, data: Path | None = None, kind: str | None = None
) -> list[Check]:
    """Compare a lineage with what is there now.

    Args:
        folder: the artifact whose lineage is verified.
        artifacts: where the upstream artifacts are, by name; the folder's parent unless given.
        data: the source data; not checked unless given.
        kind: what the artifact is, where that is known.

    Returns:
        The artifact itself, each upstream artifact, the data, the code, the packages; the artifact alone when
        its lineage was altered, as then nothing in it counts.

    Raises:
        UserError: when ``folder`` has no lineage or ``data`` is not there.
    """
    try:
        found = load(folder)
    except UserError as error:
        if not (folder / artifact.LINEAGE).exists():
            raise
        return [Check(f"artifact {kind or folder.name}", "differs", str(error))]
    upstream: dict[str, Any] = found.get("artifacts", {})
    records = {found["kind"]: found, **upstream}
    checks = [_itself(folder, kind or found["kind"])]
    places = folder.resolve().parent if artifacts is None else artifacts
    checks += [_artifact(name, upstream, places) for name in upstream]
    return [*checks, *_data(records, data), *_code(records), *_packages(records)]


def _itself(folder: Path, kind: str) -> Check:
    try:
        artifact.read(folder, kind)
    except UserError as error:
        return Check(f"artifact {kind}", "differs", str(error))
    return Check(f"artifact {kind}", "same")


def _artifact(name: str, upstream: Mapping[str, Any], places: Path) -> Check:
    """An older artifact of a name (``graph@…``) is not expected where the newer one stands."""
    what, entry = f"artifact {name}", upstream[name]
    plain = name.split("@")[0]
    folder, kind = places / plain, entry.get("kind", plain)
    if not folder.is_dir():
        return Check(what, "not checked", f"not at {folder}")
    try:
        found = artifact.read(folder, kind)
    except UserError as error:
        return Check(what, "differs", str(error))
    if found.digest == entry["digest"]:
        if "stage" in entry and not found.lineage:
            return Check(what, "differs", f"{folder / artifact.LINEAGE}: missing")
        return Check(what, "same")
    others = {other["digest"] for key, other in upstream.items() if key.split("@")[0] == plain}
    if found.digest in others:
        return Check(what, "not checked", f"{folder} has the other {plain} of this lineage")
    return Check(what, "differs", f"{folder}: was {_short(entry['digest'])}, is {_short(found.digest)}")


def _data(records: Mapping[str, Any], folder: Path | None) -> Iterator[Check]:
    """An artifact may stem from several states of the data; one that the folder has is as good as all."""
    recorded = {name: entry["data"] for name, entry in records.items() if entry.get("data")}
    if not recorded:
        yield Check("data", "not checked", "the lineage names no data")
        return
    if folder is None:
        yield Check("data", "not checked", "give --data to check it")
        return
    digest = lineage.data_digest(folder)
    for name, value in recorded.items():
        if digest == value:
            yield Check(f"data of {name}", "same")
            yield from _dvc(folder, records[name].get("code", {}).get("revision"))
        elif digest in recorded.values():
            yield Check(f"data of {name}", "not checked", f"{folder} has the other data of this lineage")
        else:
            detail = f"{folder} has other data: was {_short(value)}, is {_short(digest)}"
            yield Check(f"data of {name}", "differs", detail)


def _dvc(folder: Path, revision: str | None) -> Iterator[Check]:
    """Whether DVC's file, as it was at the revision, names this very data."""
    named = named_hash(folder, revision)
    if named is None:
        return
    what, value = named
    found = dvc_hash(folder)
    if value is None:
        yield Check(what, "not checked", "it names no folder by MD5")
    elif value == found:
        yield Check(what, "same", found)
    else:
        yield Check(what, "differs", f"it names {value}, {folder} is {found}")


def _code(records: Mapping[str, Any]) -> Iterator[Check]:
    """The source must be here, or in the revision that is named; that revision must be in the repository."""
    now = lineage.code()
    for (source, revision, modified), names in _codes(records):
        what = f"source code of {names}"
        if source == now["source"]:
            yield Check(what, "same")
        elif revision and lineage.source_digest_at(lineage.PACKAGE, revision) == source:
            yield Check(what, "same", f"that of revision {_short(revision)}; here is {_short(now['source'])}")
        else:
            note = "; it was made with modified files, which no revision has" if modified else ""
            yield Check(what, "differs", f"was {_short(source)}, is {_short(now['source'])}{note}")
        yield _revision(f"git revision of {names}", revision)


def _revision(what: str, revision: str | None) -> Check:
    if revision is None:
        return Check(what, "not checked", "not known where it was made")
    if not repository.is_checkout(lineage.PACKAGE):
        return Check(what, "not checked", f"was {revision}; no git repository here")
    if repository.has(lineage.PACKAGE, revision):
        return Check(what, "same", revision)
    return Check(what, "differs", f"{revision} is not in this repository; fetch it")


def _codes(records: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str | None, bool], str]]:
    """Each source, revision and whether files were modified, once, with the names of the artifacts made with it."""
    found: dict[tuple[str, str | None, bool], list[str]] = {}
    for name, entry in records.items():
        if code := entry.get("code"):
            found.setdefault((code["source"], code["revision"], bool(code["modified"])), []).append(name)
    for code, names in found.items():
        yield code, ", ".join(names)


def _packages(records: Mapping[str, Any]) -> Iterator[Check]:
    now = lineage.packages()
    known = sorted({name for entry in records.values() for name in entry.get("packages", {})})
    odd = 0
    for package in known:
        for version, names in _gather(records, package):
            if version is None or now.get(package) == version:
                continue
            odd += 1
            if package in now:
                yield Check(f"{package} of {names}", "differs", f"was {version}, is {now[package]}")
            else:
                yield Check(f"{package} of {names}", "not checked", f"was {version}, not installed here")
    if not odd:
        yield Check("packages", "same", f"{len(known)} versions")


def _gather(records: Mapping[str, Any], package: str) -> Iterator[tuple[str | None, str]]:
    """Each recorded version of a package once, with the names of the artifacts that have it."""
    found: dict[str | None, list[str]] = {}
    for name, entry in records.items():
        found.setdefault(entry.get("packages", {}).get(package), []).append(name)
    for value, names in found.items():
        yield value, ", ".join(names)


def _short(digest: str) -> str:
    return digest[:12]
