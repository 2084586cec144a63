"""Verification: recompute everything that a lineage names, as far as it is there, and say what differs."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from graphmill import artifact, lineage
from graphmill.errors import UserError

State = Literal["same", "differs", "not checked"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; ``detail`` says what was found where it is not the same."""

    what: str
    state: State
    detail: str = ""


def load(folder: Path) -> dict[str, Any]:
    """The lineage of an artifact, as it stands there, not yet verified.

    Raises:
        UserError: when there is none, or it is not readable.
    """
    file = folder / artifact.LINEAGE
    try:
        content = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder}: no {artifact.LINEAGE} here; give the folder of an artifact") from None
    except ValueError:
        content = None
    if not isinstance(content, dict) or not {"kind", "digest", "stage"} <= content.keys():
        raise UserError(f"{file}: damaged; run the stage that writes this artifact again")
    return content


def verify(folder: Path, artifacts: Path | None = None, data: Path | None = None) -> list[Check]:
    """Compare a lineage with what is there now.

    Args:
        folder: the artifact whose lineage is verified.
        artifacts: where the upstream artifacts are, by name; the folder's parent unless given.
        data: the source data; not checked unless given.

    Returns:
        The artifact itself, each upstream artifact, the data, the code, the packages.

    Raises:
        UserError: when ``folder`` has no lineage or ``data`` is not there.
    """
    found = load(folder)
    upstream: dict[str, Any] = found.get("artifacts", {})
    records = {found["kind"]: found, **upstream}
    checks = [_itself(folder, found["kind"])]
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
    folder = places / plain
    if not (folder / f"{entry.get('kind', plain)}.json").is_file():
        return Check(what, "not checked", f"not at {folder}")
    try:
        digest = artifact.read(folder, entry.get("kind", plain)).digest
    except UserError as error:
        return Check(what, "differs", str(error))
    if digest == entry["digest"]:
        return Check(what, "same")
    others = {other["digest"] for key, other in upstream.items() if key.split("@")[0] == plain}
    if digest in others:
        return Check(what, "not checked", f"{folder} has the other {plain} of this lineage")
    return Check(what, "differs", f"{folder}: was {_short(entry['digest'])}, is {_short(digest)}")


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
        elif digest in recorded.values():
            yield Check(f"data of {name}", "not checked", f"{folder} has the other data of this lineage")
        else:
            detail = f"{folder} has other data: was {_short(value)}, is {_short(digest)}"
            yield Check(f"data of {name}", "differs", detail)


def _code(records: Mapping[str, Any]) -> Iterator[Check]:
    """The source decides; another revision of the same source is named but is no difference."""
    now = lineage.code()
    for source, names in _gather(records, "code", "source"):
        state: State = "same" if source == now["source"] else "differs"
        detail = "" if state == "same" else f"was {_short(source)}, is {_short(now['source'])}"
        yield Check(f"source code of {names}", state, detail)
    sources = {entry.get("code", {}).get("source") for entry in records.values()}
    for revision, names in _gather(records, "code", "revision"):
        what = f"git revision of {names}"
        if revision is None or now["revision"] is None:
            yield Check(what, "not checked", f"was {revision}, is {now['revision']} (None: not known)")
        elif revision == now["revision"]:
            yield Check(what, "same")
        else:
            state = "same" if sources == {now["source"]} else "differs"
            note = ", same source" if state == "same" else ""
            yield Check(what, state, f"was {revision}, is {now['revision']}{note}")


def _packages(records: Mapping[str, Any]) -> Iterator[Check]:
    now = lineage.packages()
    known = sorted({name for entry in records.values() for name in entry.get("packages", {})})
    odd = 0
    for package in known:
        for version, names in _gather(records, "packages", package):
            if version is None or now.get(package) == version:
                continue
            odd += 1
            if package in now:
                yield Check(f"{package} of {names}", "differs", f"was {version}, is {now[package]}")
            else:
                yield Check(f"{package} of {names}", "not checked", f"was {version}, not installed here")
    if not odd:
        yield Check("packages", "same", f"{len(known)} versions")


def _gather(records: Mapping[str, Any], section: str, key: str) -> Iterator[tuple[Any, str]]:
    """Each recorded value once, with the names of the artifacts that have it."""
    found: dict[Any, list[str]] = {}
    for name, entry in records.items():
        found.setdefault(entry.get(section, {}).get(key), []).append(name)
    for value, names in found.items():
        yield value, ", ".join(names)


def _short(digest: str) -> str:
    return digest[:12]
