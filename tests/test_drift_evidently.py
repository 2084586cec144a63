"""Evidently's page on two snapshots: what it is given, and what is said where it is missing."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from graphmill.drift import __main__ as command
from graphmill.drift import evidently
from graphmill.drift.evidently import Snapshot
from graphmill.errors import UserError

HALF = ("2025-01-01", "2025-03-01")
THERE = importlib.util.find_spec("evidently") is not None


def test_a_table_has_numbers_and_names_of_categories(tiny_run: Path) -> None:
    folder = tiny_run / "artifacts" / "features"
    whole = evidently.table(Snapshot(folder), "payment")
    assert whole["amount"].dtype == float and {type(one) for one in whole["channel"].dropna()} == {str}
    assert len(evidently.table(Snapshot(folder), "payment", 100)) == 100
    half = evidently.table(Snapshot(folder, HALF), "payment")
    times = pd.to_datetime(pd.read_parquet(tiny_run / "artifacts" / "tables" / "payments.parquet")["paid_at"])
    assert len(half) == ((times >= HALF[0]) & (times < HALF[1])).sum() > 0


def test_what_cannot_be_compared_is_told(tiny_run: Path, tmp_path: Path) -> None:
    folder = tiny_run / "artifacts" / "features"
    with pytest.raises(UserError, match=r"no columns of a node type 'nothing'; there are .*payment"):
        evidently.table(Snapshot(folder), "nothing")
    with pytest.raises(UserError, match="no rows of payment in that time"):
        evidently.table(Snapshot(folder, ("1990-01-01", "1990-02-01")), "payment")
    with pytest.raises(UserError, match="no features here"):
        evidently.table(Snapshot(tmp_path), "payment")
    with pytest.raises(UserError, match="no column in common"):
        evidently._common(pd.DataFrame({"a": [1.0]}), pd.DataFrame({"a": [float("nan")], "b": [1.0]}))


def test_without_the_extra_the_command_says_what_to_install(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "evidently", None)
    folder = str(tiny_run / "artifacts" / "features")
    given = ["evidently", "--reference", folder, "--current", folder, "--output", str(tmp_path / "page.html")]
    assert command.main(given) == 2
    assert "evidently is not installed" in (told := capsys.readouterr().err) and evidently.ADVICE in told
    assert not (tmp_path / "page.html").exists()


class Full:
    """A page that does not fit on the disk."""

    def save_html(self, file: str) -> None:
        Path(file).write_text("<html>half a page")
        raise OSError(28, "No space left on device")


def test_a_page_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("the one before")
    with pytest.raises(UserError, match=r"page\.html: cannot be written: No space left on device"):
        evidently._save(Full(), tmp_path / "page.html")
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text() == "the one before"
    with pytest.raises(UserError, match="cannot be written"):
        evidently._save(Full(), tmp_path / "page.html" / "below a file")


def test_no_rows_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--rows: -5 rows cannot be compared"):
        evidently.write(Snapshot(tmp_path), Snapshot(tmp_path), None, tmp_path / "page.html", -5)


def test_an_evidently_that_does_not_load_is_not_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "evidently", ModuleType("evidently"))  # as where another package is too new for it
    with pytest.raises(UserError, match="evidently is installed and does not load"):
        evidently._imported()


@pytest.mark.skipif(not THERE, reason="evidently (a gigabyte) is not installed")
@pytest.mark.filterwarnings("ignore")
def test_evidently_writes_its_page(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, page = str(tiny_run / "artifacts" / "features"), tmp_path / "new" / "page.html"
    given = ["evidently", "--reference", folder, "--current", folder, "--node", "payment", "--output", str(page)]
    assert command.main([*given, "--reference-period", *HALF]) == 0
    text = page.read_text(encoding="utf-8")
    assert "amount" in text and "channel" in text and "columns compared" in capsys.readouterr().out
