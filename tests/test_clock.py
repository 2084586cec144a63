"""Time as one integer, and what is no time."""

import pytest

from graphmill import progress
from graphmill.clock import ALWAYS, day, duration, moment, text
from graphmill.errors import UserError

DAY = 86_400_000_000


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("1970-01-01", 0),
        ("1970-01-02T00:00:01.000002", DAY + 1_000_002),
        ("1970-01-01 12:00", DAY // 2),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31", -DAY),
    ],
)
def test_moments(given, expected):
    assert moment(given, "timestamp") == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("7d", 7 * DAY),
        ("12h", DAY // 2),
        ("30m", DAY // 48),
        ("2w", 14 * DAY),
        ("1.5 d", 3 * DAY // 2),
        ("5s", 5_000_000),
    ]
    + [("-7d", -7 * DAY), (0, 0), (0.0, 0), ("0d", 0)],
)
def test_durations(given, expected):
    assert duration(given, "timestamp") == expected


def test_steps():
    assert moment(3, "step") == moment(3.0, "step") == duration(3.0, "step") == 3
    assert moment(2**53 + 1, "step") == 2**53 + 1
    assert (day("step"), day("timestamp")) == (1, DAY)


def test_counting_back_from_the_as_of_moment():
    now = moment("2025-05-01", "timestamp")
    assert moment("as_of - 30d", "timestamp", as_of=now) == moment("2025-04-01", "timestamp")
    assert moment("as_of", "timestamp", as_of=now) == now
    assert moment("as_of - 5", "step", as_of=20) == 15
    for wrong in ("as_of - 5", "as_of + 5d", "as_of - x"):
        with pytest.raises(UserError, match="task.split.train_end: "):
            moment(wrong, "timestamp", "task.split.train_end", now)


@pytest.mark.parametrize(
    ("read", "given", "clock", "message"),
    [
        (moment, "31.01.2025", "timestamp", "name: '31.01.2025' is not a moment; write it as 2025-01-31"),
        (moment, "2025-02-30", "timestamp", "'2025-02-30' is not a moment"),
        (moment, 20250131, "timestamp", "20250131 is not a moment"),
        (moment, "2025-01-31", "step", "is not a step; this schema's time is a whole number"),
        (moment, 3.5, "step", "3.5 is not a step"),
        (moment, float("nan"), "step", "nan is not a step"),
        (moment, float("inf"), "step", "inf is not a step"),
        (moment, 2**63, "step", "is too far away"),
        (duration, "7 days", "timestamp", "name: '7 days' is not a duration such as 7d, 12h or 30m"),
        (duration, 7, "timestamp", "7 is not a duration"),
        (duration, "1e9d", "timestamp", "is not a duration"),
        (duration, "99999999w", "timestamp", "is too far away"),
        (duration, "7d", "step", "'7d' is not a whole number of steps"),
        (duration, 7.5, "step", "7.5 is not a whole number of steps"),
    ],
)
def test_what_is_no_time(read, given, clock, message):
    with pytest.raises(UserError, match=message):
        read(given, clock, "name")


def test_text():
    assert text(moment("2025-01-31T12:00:00", "timestamp"), "timestamp") == "2025-01-31T12:00:00"
    assert text(17, "step") == "17"
    assert text(ALWAYS, "step") == text(ALWAYS, "timestamp") == "always"


def test_no_bar_where_nobody_looks(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert progress.quiet()
    assert list(progress.track(iter([1, 2]), "reading")) == [1, 2]
    progress.say("done")
    assert capsys.readouterr() == ("done\n", "")


def test_a_bar_on_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.delenv("GRAPHMILL_QUIET", raising=False)
    assert not progress.quiet()
    monkeypatch.setenv("GRAPHMILL_QUIET", "1")
    assert progress.quiet()
