"""A stage's run, recorded after its work by a process that the stage does not wait for beyond a bound."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graphmill import shared
from graphmill.progress import say
from graphmill.tracking import places
from graphmill.tracking.params import Params

RECORDED = "recorded in "
"""How the recorder begins its word that the run is whole on the disk."""


@contextmanager
def tracked(stage: str, output: str | Path, section: Mapping[str, Any]) -> Iterator[None]:
    """Do a stage's work in the block; then its run is recorded from the artifact that it wrote.

    Nothing that goes wrong with W&B is an error of the stage. A stage that fails leaves no artifact and no run.

    Args:
        stage: the stage's name, which is the run's job type.
        output: the artifact that the block writes.
        section: section `tracking`, checked before the work begins.

    Raises:
        UserError: for a wrong parameter.
    """
    params = Params.parse(section, "tracking")
    began = time.monotonic()
    yield
    if (mode := places.mode(params.mode)) == "off":
        return
    folder = shared.follow(Path(output)).absolute()
    facts = {"stage": stage, "output": str(folder), "seconds": round(time.monotonic() - began, 3), "mode": mode}
    try:
        say(f"{stage}: {_record(facts | {'group': places.group(folder)}, params)}")
    except Exception as error:  # the artifact is written: no trouble with the record may fail the stage
        say(f"{stage}: not recorded: {error}")


def _record(facts: dict[str, Any], params: Params) -> str:
    """Have the run recorded; what became of it, in words."""
    from graphmill.tracking import processes

    home = places.folder()
    home.mkdir(parents=True, exist_ok=True)
    status, lines = processes.run("record", params.patience, home, params=params.canonical(), **facts)
    kept = [line for line in lines if line.startswith(RECORDED)]
    if kept and status != 0:
        why = f"not sent within {params.patience:g} s" if status == processes.LATE else "the sending broke off"
        return f"{kept[0]}; {why}: `make wandb-sync` sends it later"
    if status == processes.LATE:
        return f"not recorded within {params.patience:g} s (tracking.patience)"
    last = lines[-1] if lines else f"the recorder ended with status {status}"
    return last if status == 0 else f"not recorded: {last}"
