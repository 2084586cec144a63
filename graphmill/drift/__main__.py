"""``python -m graphmill.drift``: what was checked and decided, and what a person has to say to it."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from graphmill.drift import audit, record
from graphmill.drift import history as periods
from graphmill.drift.params import Params
from graphmill.drift.record import Line, Record
from graphmill.errors import UserError
from graphmill.params import load

PARAMS = Path("params.yaml")
HOME = """What drift remembers is in --home, else drift.home of ./params.yaml, else `drift_history`. Exit status: 0;
1 when `replay` finds a decision that would be another one now; 2 for a mistake in the command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = _parser().parse_args(arguments)
    try:
        status: int = given.command(given)
    except UserError as error:
        print(f"drift: {error}", file=sys.stderr)
        return 2
    return status


def history(given: argparse.Namespace) -> int:
    """Every check, what was decided, and what held a retraining back; then the acknowledgements."""
    lines = _record(given).lines()
    if given.json:
        print(json.dumps([line for line in lines if line["kind"] == "check"]))
    elif lines:
        Console(width=None if sys.stdout.isatty() else 200).print(_table(lines))
    else:
        print(f"{_record(given).file}: nothing was checked yet; stage `drift` writes the first line")
    return 0


def replay(given: argparse.Namespace) -> int:
    """Make every decision again from what it was made from."""
    lines, changed, count = _record(given).lines(), [], 0
    for place, line in enumerate(lines):
        if line["kind"] != "check":
            continue
        count += 1
        now = record.again(lines, place)
        if not record.same(line, now):
            changed.append(f"{line['id']} ({line['as_of']}): was {line['answer']}, now {now.answer}: {now.words}")
    if not lines:
        print(f"{_record(given).file}: nothing was checked yet, so there is nothing to replay")
        return 0
    print("\n".join([*changed, f"{count} decisions made again, {_same(len(changed))}"]))
    return 1 if changed else 0


def acknowledge(given: argparse.Namespace) -> int:
    """Let a check's alarms count as normal, and its period as part of what is usual."""
    home = _record(given)
    check = home.acknowledge(given.check, given.why, given.who)
    folder, end = home.file.parent / periods.FOLDER, check["period"][1]
    if any(one.profile["end"] == end for one in periods.waiting(folder)):  # not so when it was checked again since
        periods.acknowledge(folder, given.why, [end], given.who)
    print(f"acknowledged: the alarms of {check['id']} count as normal from now on")
    return 0


def audit_sample(given: argparse.Namespace) -> int:
    """Draw predictions at random for people to label."""
    if given.seed < 0:
        raise UserError(f"--seed: {given.seed} must not be negative")
    table = audit.sample(audit.read(given.predictions, given.since, given.until), given.size, given.seed)
    audit.write(table, given.output)
    print(f"audit sample: {len(table):,} predictions in {given.output}; fill in `label` and `known_at`")
    return 0


def evidently_page(given: argparse.Namespace) -> int:
    """Write Evidently's page on two snapshots of a node type; needs the extra `evidently`."""
    from graphmill.drift import evidently

    ends = (given.reference_period, given.current_period)
    reference, current = (
        evidently.Snapshot(folder, tuple(period) if period else None)
        for folder, period in zip((given.reference, given.current), ends, strict=True)
    )
    count = evidently.write(reference, current, given.node, given.output, given.rows)
    print(f"evidently: {count} columns compared in {given.output}")
    return 0


def _same(changed: int) -> str:
    return f"{changed} otherwise" if changed else "all the same"


def _table(lines: list[Line]) -> Table:
    """One row a check; what a person acknowledged is said beside it."""
    said: dict[str, Any] = {line["check"]: line for line in lines if line["kind"] == "acknowledgement"}
    table = Table(box=None, pad_edge=False)
    for column in ("as of", "check", "state", "answer", "asked by", "held back by", "acknowledged"):
        table.add_column(column)
    for line in lines:
        if line["kind"] == "check":
            word = said.get(line["id"])
            table.add_row(
                line["as_of"], line["id"], line["state"], line["answer"], ", ".join(line["triggers"]),
                ", ".join(line["blocked_by"]), f"{word['who']}: {word['why']}" if word else "",
            )  # fmt: skip
    return table


def _record(given: argparse.Namespace) -> Record:
    if given.home is None and PARAMS.is_file():
        given.home = Params.parse(load(PARAMS)["drift"], "drift").home
    return Record(Path(given.home or Params().home))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m graphmill.drift", description=__doc__, epilog=HOME)
    verbs = parser.add_subparsers(dest="verb", required=True)

    def verb(command: Any, name: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=command.__doc__, description=command.__doc__, epilog=HOME)
        added.set_defaults(command=command)
        added.add_argument("--home", help="folder of what drift remembers")
        return added

    verb(history, "history").add_argument("--json", action="store_true", help="one JSON array of the checks")
    verb(replay, "replay")
    said = verb(acknowledge, "acknowledge")
    said.add_argument("check", help="the check's id, or its beginning; `history` lists them")
    said.add_argument("--why", required=True, help="the reason, for those who read the record")
    said.add_argument("--who", help="who says so (the login name)")
    drawn = verbs.add_parser("audit-sample", help=audit_sample.__doc__, description=audit_sample.__doc__, epilog=HOME)
    drawn.set_defaults(command=audit_sample)
    drawn.add_argument("--predictions", type=Path, default=Path("artifacts/predictions"),
                       help="folder of stage score, or a predictor's log (artifacts/predictions)")  # fmt: skip
    drawn.add_argument("--size", type=int, default=200, help="how many (200)")
    drawn.add_argument("--since", type=int, help="from this moment on, in the clock's units")
    drawn.add_argument("--until", type=int, help="before this moment, in the clock's units")
    drawn.add_argument("--seed", type=int, default=0, help="same seed, same sample (0)")
    drawn.add_argument(
        "--output", type=Path, required=True, help="CSV or Parquet file to write; never one that is there"
    )
    _add_evidently(verbs)
    return parser


def _add_evidently(verbs: Any) -> None:
    page = verbs.add_parser("evidently", help=evidently_page.__doc__, description=evidently_page.__doc__)
    page.set_defaults(command=evidently_page)
    for name in ("reference", "current"):
        page.add_argument(f"--{name}", type=Path, required=True, help="folder of stage features")
        page.add_argument(f"--{name}-period", nargs=2, metavar=("START", "END"),
                          help="only rows of this time; the graph stands beside the features")  # fmt: skip
    page.add_argument("--node", help="node type (the first that has columns)")
    page.add_argument("--rows", type=int, default=50_000, help="at most so many of each snapshot (50000)")
    page.add_argument("--output", type=Path, required=True, help="HTML file to write")


if __name__ == "__main__":
    sys.exit(main())
