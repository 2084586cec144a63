"""What was checked and decided before: one line a check or an acknowledgement, added and never changed.

A line of a check holds all that its decision was made from, so that it can be made again: `replay` does.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from graphmill import artifact
from graphmill.drift.decision import Check, Decision, Outcome, Past
from graphmill.drift.policy import decide
from graphmill.drift.rules import Rules
from graphmill.errors import UserError
from graphmill.registry.storage import locked, now, replace_text, who

FILE = "decisions.jsonl"
VERSION = 1
Line = dict[str, Any]


@dataclass(frozen=True)
class Standing:
    """What the registry says at the time of a check."""

    versions: tuple[str, ...] = ()
    """Every version."""
    outcomes: dict[str, Outcome] | None = None
    """What came of each earlier retraining, by the check that decided it; None where it cannot be told."""


class Record:
    """The record in the folder ``home``, which is made when the first check is written."""

    def __init__(self, home: Path) -> None:
        """Nothing is read yet."""
        self.file = home / FILE

    def lines(self) -> list[Line]:
        """Every line, oldest first.

        Raises:
            UserError: for a damaged line, or one of another version.
        """
        try:
            texts = self.file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{self.file}: cannot be read: {error}") from None
        return [self._parse(number, text) for number, text in enumerate(texts, 1)]

    def checks(self) -> list[Line]:
        """Lines of checks, oldest first."""
        return [line for line in self.lines() if line["kind"] == "check"]

    def find(self, name: str) -> Line | None:
        """The line of a check."""
        return next((line for line in self.checks() if line["id"] == name), None)

    def snapshot(self, inputs: Line, before: int) -> int:
        """The number of a snapshot of data without time: that of its first check, or the next one.

        Args:
            inputs: digests, of which ``graph`` and ``features`` say which snapshot it is.
            before: the number of what the model was trained on.

        Raises:
            UserError: for a damaged record.
        """
        checks = self.checks()
        for line in checks:
            if all(line.get("inputs", {}).get(name) == inputs[name] for name in ("graph", "features")):
                return int(line["period"][1])
        return 1 + max([before, *(int(line["period"][1]) for line in checks)])

    def add(self, name: str, facts: Line, check: Check, rules: Rules, standing: Standing) -> Decision:
        """Decide on a check and write it down; one that is there already is decided as it was.

        Args:
            name: what identifies the check: the digest of its inputs and of what was found.
            facts: what a reader of the record wants to know besides: the inputs' digests.
            check: what was found.
            rules: the settled policy.
            standing: what the registry says.

        Raises:
            UserError: when the record is damaged or cannot be written.
        """
        with self._writing():
            lines = self.lines()
            place = next((at for at, line in enumerate(lines) if line.get("id") == name), None)
            if place is not None:
                return again(lines, place)
            found: Line = {"kind": "check", "version": VERSION, "id": name, "at": now(), **facts}
            found |= {"check": check.canonical(), "rules": asdict(rules)}
            found |= {"outcomes": standing.outcomes, "versions": list(standing.versions)}
            decision = again([*lines, found], len(lines))
            self._write([*lines, found | decision.canonical()])
            return decision

    def acknowledge(self, name: str, why: str, by: str | None = None) -> Line:
        """Say that what a check found is normal: its alarms count for nothing from now on.

        Args:
            name: the check, or the beginning of its id that no other has.
            why: the reason, for those who read the record.
            by: who says so; the login name by default.

        Returns:
            The line of the check.

        Raises:
            UserError: for no such check, no reason, or one that is acknowledged already.
        """
        if not why.strip():
            raise UserError("acknowledge: say why, for those who read the record later")
        with self._writing():
            lines = self.lines()
            known = [line["id"] for line in lines if line["kind"] == "check" and line["id"].startswith(name)]
            if len(known) != 1 or not name:
                told = "no check of that id" if not known else f"{len(known)} checks begin so"
                raise UserError(f"{self.file}: {name!r}: {told}; see `python -m graphmill.drift history`")
            if known[0] in _acknowledged(lines):
                raise UserError(f"{self.file}: {known[0]}: acknowledged already")
            line = {"kind": "acknowledgement", "version": VERSION, "check": known[0]}
            self._write([*lines, {**line, "who": by or who(), "when": now(), "why": why.strip()}])
            return next(line for line in lines if line.get("id") == known[0])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.file.with_name(".lock")):
                yield
        except OSError as error:
            raise UserError(f"{self.file}: cannot be written: {error.strerror or error}") from error

    def _write(self, lines: list[Line]) -> None:
        texts = (json.dumps(line, sort_keys=True, allow_nan=False, ensure_ascii=True) for line in lines)
        replace_text(self.file, "".join(f"{text}\n" for text in texts))

    def _parse(self, number: int, text: str) -> Line:
        try:
            line = json.loads(text)
            version, kind = line["version"], line["kind"]
        except (ValueError, TypeError, KeyError):
            raise UserError(f"{self.file}: line {number} is damaged; restore the file from a backup") from None
        if version != VERSION or kind not in ("check", "acknowledgement"):
            raise UserError(f"{self.file}: line {number}: {kind} of version {version}; this version reads {VERSION}")
        if not _whole(line):
            raise UserError(f"{self.file}: line {number} is damaged; restore the file from a backup")
        return dict(line)


def _whole(line: Line) -> bool:
    """Whether a line has all that is read of it."""
    try:
        if line["kind"] == "acknowledgement":
            return all(isinstance(line[key], str) for key in ("check", "who", "why"))
        check = Check.parse(line["check"])
        _rules(line)
        words = all(isinstance(line[key], str) for key in ("id", "answer", "as_of", "state"))
        lists = all(isinstance(line[key], list) for key in ("families", "triggers", "blocked_by", "versions", "period"))
        known = isinstance(line["outcomes"], dict | None) and isinstance(check.states, dict)
        return words and lists and known and isinstance(check.moment, int)
    except (KeyError, TypeError):
        return False


def _rules(line: Line) -> Rules:
    return Rules(**{**line["rules"], "retrain_on": tuple(line["rules"]["retrain_on"])})


def again(lines: list[Line], place: int) -> Decision:
    """The decision on the check of a line, from that line and those before it."""
    line = lines[place]
    check, rules = Check.parse(line["check"]), _rules(line)
    return decide(check, _past(lines[:place], check, line["outcomes"] or {}), rules)


def same(line: Line, decision: Decision) -> bool:
    """Whether a line says what was decided again."""
    return all(line[key] == value for key, value in decision.canonical().items())


def digest(facts: Line) -> str:
    """What identifies a check, and a policy: 16 hexadecimal characters."""
    return artifact.digest_of(json.dumps(facts, sort_keys=True).encode())[:16]


def _past(lines: list[Line], check: Check, outcomes: dict[str, Outcome]) -> list[Past]:
    """Earlier checks of no later data: a check of old data made today knows nothing of what came after."""
    known = _acknowledged(lines)
    return [
        Past(
            Check.parse(line["check"]), line["answer"], tuple(line["families"]), outcomes.get(line["id"], "none"),
            line["id"] in known,
        )
        for line in lines
        if line["kind"] == "check" and line["check"]["moment"] <= check.moment
    ]  # fmt: skip


def _acknowledged(lines: list[Line]) -> set[str]:
    return {line["check"] for line in lines if line["kind"] == "acknowledgement"}
