"""``python -m graphmill.rollout``: bring a version into production in watched steps, or take it back."""

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from graphmill.deploy.params import Params as Deploy
from graphmill.errors import UserError
from graphmill.params import load
from graphmill.progress import say
from graphmill.rollout.live import log_warnings
from graphmill.rollout.load import asked
from graphmill.rollout.machine import Look, judged, line
from graphmill.rollout.params import Params
from graphmill.rollout.run import Rollout
from graphmill.rollout.target import Unreachable

LOOKS = 10
"""Looks at a step that is made short."""
INTERRUPTED = "the rollout stays where it stands: `resume` goes on with it, `rollback` ends it"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 after a rollback, 2 for the user's mistake, 3 for want of an answer."""
    given = _parser().parse_args(arguments)
    log_warnings()
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        sections = load(given.params)
        params = _hurried(Params.parse(sections["rollout"], "rollout"), given.minutes)
        deploy = Deploy.parse(sections["deploy"], "deploy")
        with closing(Rollout(params, deploy, given.graph, given.port)) as rollout:
            status: int = given.command(rollout, params, given)
    except UserError as error:
        print(f"rollout: {error}", file=sys.stderr)
        return 2
    except Unreachable as error:
        print(f"rollout: {error}; try again when it answers", file=sys.stderr)
        return 3
    except KeyboardInterrupt as interrupt:
        print(f"rollout: {INTERRUPTED}", file=sys.stderr)
        return 143 if interrupt.args else 130
    finally:
        signal.signal(signal.SIGTERM, before)
    return status


def _terminated(number: int, frame: object) -> None:
    """SIGTERM ends a watcher as Ctrl-C does."""
    raise KeyboardInterrupt(number)


def start(rollout: Rollout, params: Params, given: argparse.Namespace) -> int:
    """Check the candidate, run it beside the champion, and follow it to its end."""
    rollout.start(given.candidate, given.champion, given.again)
    return _followed(rollout, given)


def resume(rollout: Rollout, params: Params, given: argparse.Namespace) -> int:
    """Go on with a rollout whose watcher is gone."""
    return _followed(rollout, given)


def status(rollout: Rollout, params: Params, given: argparse.Namespace) -> int:
    """Where the rollout stands, what its guards see, and what happened."""
    state = rollout.machine.state()
    if state is None:
        print("no rollout was begun here")
        return 0
    print(line(state, params))
    try:
        found = rollout.machine.look(state)
    except Unreachable as error:
        print(f"the guards see nothing: {error}\n")
        found = Look()
    else:
        print(f"the candidate judged {judged(found.seen)} requests since {_moment(state.began)}\n")
    table = _table("guard", "", "candidate", "bound", "what it says")
    for verdict in found.verdicts:
        word = "BROKEN" if verdict.broken else "holds" if verdict.evidence else "nothing seen"
        value = "" if verdict.value is None else f"{verdict.value:.4f}"
        table.add_row(verdict.name, word, value, f"{verdict.bound:g}", verdict.meaning)
    _print(table)
    history = _table("when", "phase", "step", "why")
    for entry in rollout.store.log():
        history.add_row(entry["when"], entry["phase"], str(entry["step"] + 1), entry["reason"])
    _print(history)
    return 0


def rollback(rollout: Rollout, params: Params, given: argparse.Namespace) -> int:
    """Give the champion all of the traffic back, at once; also after the rollout has ended well."""
    rollout.roll_back(given.why)
    return 0


def stop(rollout: Rollout, params: Params, given: argparse.Namespace) -> int:
    """Stop the local processes."""
    rollout.stop()
    say("stopped")
    return 0


def _followed(rollout: Rollout, given: argparse.Namespace) -> int:
    with _questions(rollout, given.rate):
        return 0 if rollout.follow().phase == "promoted" else 1


def _questions(rollout: Rollout, rate: float | None) -> AbstractContextManager[None]:
    """Questions of our own meanwhile, where they are wanted."""
    if rate is None:
        return nullcontext()
    url = rollout.url()
    assert rollout.graph is not None, "it is there on this machine"
    return asked(rollout.graph, url, rate)


def _hurried(params: Params, minutes: float | None) -> Params:
    """The same steps in less time, to try them out."""
    if minutes is None:
        return params
    steps = tuple(step.model_copy(update={"minutes": minutes}) for step in params.steps)
    poll = min(params.poll_seconds, max(minutes * 60 / LOOKS, 0.2))
    return params.model_copy(update={"steps": steps, "poll_seconds": poll})


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _print(table: Table) -> None:
    """Cells are data, not markup; where no terminal sets a width, lines are not folded."""
    Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 240).print(table)
    print()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m graphmill.rollout",
        description="Bring a version into production in steps that are watched, and take it back when a guard breaks.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    first = _command(commands, "start", start)
    first.add_argument("--candidate", default="candidate", help="version or alias that is rolled out (candidate)")
    first.add_argument("--champion", default="champion", help="version or alias that has the traffic now (champion)")
    first.add_argument("--again", action="store_true", help="also a version that was rolled back before")
    second = _command(commands, "resume", resume)
    for command in (first, second):
        command.add_argument("--rate", type=_positive, help="local: ask so many questions a second")
    _command(commands, "status", status)
    back = _command(commands, "rollback", rollback)
    back.add_argument("--why", required=True, help="the reason; it goes into the log")
    _command(commands, "stop", stop)
    return parser


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text}")
    return number


def _command(commands: Any, name: str, work: Any) -> argparse.ArgumentParser:
    text = work.__doc__.strip()
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.add_argument("--params", type=Path, default=Path("params.yaml"), help="parameters (params.yaml)")
    command.add_argument("--graph", type=Path, help="folder with the served graph/ and features/ (local: artifacts)")
    command.add_argument("--port", type=int, default=8080, help="local: port of the front (8080)")
    command.add_argument("--minutes", type=_positive, help="minutes of every step, to try a rollout out")
    command.set_defaults(command=work)
    return command


if __name__ == "__main__":
    sys.exit(main())
