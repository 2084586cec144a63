"""The published forms of profiles and reports; every one that a test writes is held to them."""

import json
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator

from graphmill import artifact, drift

SCHEMAS = Path(drift.__file__).parent / "schemas"


@cache
def validator(name):
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def problems(name, document):
    """What does not fit, with its place."""
    found = validator(name).iter_errors(document)
    return [f"{name}{error.json_path.removeprefix('$')}: {error.message[:300]}" for error in found]


def sealing(draft, kind, seal=artifact._seal):
    """`artifact._seal`, which every artifact goes through, and the check of what it seals."""
    seal(draft, kind)
    wrong = []
    if kind == "drift_report" and (draft.folder / "profile.json").exists():  # else made up by a test
        wrong += problems("report", json.loads((draft.folder / "drift_report.json").read_bytes()))
        wrong += problems("profile", json.loads((draft.folder / "profile.json").read_bytes()))
    if kind == "predictions" and (profile := draft.folder / "profile.json").exists():
        wrong += problems("profile", json.loads(profile.read_bytes()))
    if kind in ("features", "model") and (history := draft.folder / "profile" / "history.json").exists():
        document = json.loads(history.read_bytes())
        wrong += [one for profile in document.get("periods", []) for one in problems("profile", profile)]
    assert not wrong, wrong[:5]
