"""The sample: the same bytes every time, whole tables, and fraud just where its truth says."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from graphmill.errors import UserError
from graphmill.sample import make, write
from graphmill.sample.__main__ import main
from graphmill.sample.write import FILES

SCALE = 0.05


def digests(folder: Path) -> dict[str, str]:
    return {item.name: hashlib.sha256(item.read_bytes()).hexdigest() for item in sorted(folder.iterdir())}


def read(folder: Path, name: str) -> pa.Table:
    return pq.read_table(folder / f"{name}.parquet")


def column(table: pa.Table, name: str) -> Any:
    return table[name].to_numpy(zero_copy_only=False)


def moments_by_account(folder: Path) -> dict[str, np.datetime64]:
    accounts = read(folder, "accounts")
    return dict(zip(column(accounts, "account_id"), column(accounts, "opened_at"), strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("sample") / "data"
    write(make(7, SCALE), output)
    return output


@pytest.fixture(scope="module")
def truth(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "truth.json").read_text())
    return content


def test_same_seed_same_bytes(folder: Path, tmp_path: Path) -> None:
    write(make(7, SCALE), tmp_path / "again")
    assert digests(tmp_path / "again") == digests(folder)
    assert sorted(digests(folder)) == sorted(FILES)


def test_other_seed_other_bytes(folder: Path, tmp_path: Path) -> None:
    write(make(8, SCALE), tmp_path / "other")
    first, second = digests(folder), digests(tmp_path / "other")
    assert all(first[name] != second[name] for name in FILES)


def test_files_carry_no_pandas_metadata(folder: Path) -> None:
    for name in FILES:
        if name.endswith(".parquet"):
            assert not pq.read_schema(folder / name).metadata


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("accounts", "account_id"),
        ("merchants", "merchant_id"),
        ("devices", "device_id"),
        ("payments", "payment_id"),
    ],
)
def test_identifiers_are_unique_and_sorted(folder: Path, table: str, key: str) -> None:
    identifiers = read(folder, table)[key].to_pylist()
    assert identifiers == sorted(set(identifiers))


@pytest.mark.parametrize(
    ("table", "link", "target", "key"),
    [
        ("payments", "account_id", "accounts", "account_id"),
        ("payments", "merchant_id", "merchants", "merchant_id"),
        ("payments", "device_id", "devices", "device_id"),
        ("logins", "account_id", "accounts", "account_id"),
        ("logins", "device_id", "devices", "device_id"),
        ("transfers", "sender_id", "accounts", "account_id"),
        ("transfers", "receiver_id", "accounts", "account_id"),
    ],
)
def test_links_resolve(folder: Path, table: str, link: str, target: str, key: str) -> None:
    used = set(read(folder, table)[link].drop_null().to_pylist())
    assert used and used <= set(read(folder, target)[key].to_pylist())


def test_only_payments_with_the_card_have_no_device(folder: Path) -> None:
    payments = read(folder, "payments")
    assert (column(payments, "channel") == "card_present").tolist() == payments["device_id"].is_null().to_pylist()


@pytest.mark.parametrize(("table", "time"), [("payments", "paid_at"), ("logins", "at"), ("transfers", "at")])
def test_events_are_in_order_in_the_year_and_in_whole_seconds(folder: Path, table: str, time: str) -> None:
    events = read(folder, table)
    assert events[time].type == pa.timestamp("us", tz="UTC")
    at = column(events, time)
    assert np.all(at[:-1] <= at[1:])
    assert at[0] >= np.datetime64("2025-01-01") and at[-1] < np.datetime64("2026-01-01")
    assert np.array_equal(at, at.astype("datetime64[s]"))


@pytest.mark.parametrize(
    ("table", "account", "time"),
    [
        ("payments", "account_id", "paid_at"),
        ("logins", "account_id", "at"),
        ("transfers", "sender_id", "at"),
        ("transfers", "receiver_id", "at"),
    ],
)
def test_nothing_happens_before_the_account_opens(folder: Path, table: str, account: str, time: str) -> None:
    opened_at = moments_by_account(folder)
    events = read(folder, table)
    opened = np.array([opened_at[name] for name in column(events, account)])
    assert np.all(column(events, time) > opened)


def test_devices_are_seen_before_they_are_used(folder: Path) -> None:
    devices = read(folder, "devices")
    seen = dict(zip(column(devices, "device_id"), column(devices, "first_seen_at"), strict=True))
    payments = read(folder, "payments")
    payments = payments.filter(pc.is_valid(payments["device_id"]))
    first_seen = np.array([seen[name] for name in column(payments, "device_id")])
    assert np.all(column(payments, "paid_at") > first_seen)


def test_values_are_plausible(folder: Path) -> None:
    amount = column(read(folder, "payments"), "amount")
    assert amount.min() >= 0.5 and np.allclose(amount * 100, np.round(amount * 100), atol=1e-6)
    accounts = read(folder, "accounts")
    assert accounts["age"].null_count > 0 and accounts["monthly_income"].null_count > 0
    assert pc.min(accounts["age"]).as_py() >= 18
    transfers = read(folder, "transfers")
    assert np.all(column(transfers, "sender_id") != column(transfers, "receiver_id"))


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_fraud_is_about_one_percent_every_month(tmp_path: Path, seed: int) -> None:
    write(make(seed, SCALE), tmp_path / "data")
    payments = read(tmp_path / "data", "payments")
    month = column(payments, "paid_at").astype("datetime64[M]")
    fraud = column(payments, "is_fraud").astype(bool)
    shares = [fraud[month == each].mean() for each in np.unique(month)]
    assert len(shares) == 12
    assert min(shares) >= 0.008 and max(shares) <= 0.013


def test_truth_names_exactly_the_fraud(folder: Path, truth: dict[str, Any]) -> None:
    payments = read(folder, "payments")
    fraud = payments.filter(payments["is_fraud"])["payment_id"].to_pylist()
    told = [payment for operation in truth["operations"] for payment in operation["payments"]]
    assert sorted(told) == fraud
    assert truth["sizes"]["payments"] == payments.num_rows
    assert sum(month["fraud"] for month in truth["months"]) == len(fraud)


def test_who_pays_in_an_operation_takes_part_in_it(folder: Path, truth: dict[str, Any]) -> None:
    payments = read(folder, "payments")
    payer = dict(zip(column(payments, "payment_id"), column(payments, "account_id"), strict=True))
    for operation in truth["operations"]:
        assert {payer[name] for name in operation["payments"]} <= set(operation["accounts"])


def test_the_new_tactic_starts_at_the_change(truth: dict[str, Any]) -> None:
    relays = [month["tactics"]["relay"]["count"] for month in truth["months"]]
    assert relays[:10] == [0] * 10 and min(relays[10:]) > 0
    started = [each["first_payment_at"] for each in truth["operations"] if each["tactic"] == "relay"]
    assert min(started) >= truth["change"]["at"] == "2025-11-01T00:00:00Z"


def test_relay_accounts_were_fed_by_their_hub(folder: Path, truth: dict[str, Any]) -> None:
    transfers = read(folder, "transfers")
    fed = set(zip(column(transfers, "sender_id"), column(transfers, "receiver_id"), strict=True))
    relays = [each for each in truth["operations"] if each["tactic"] == "relay"]
    assert relays and all((each["hub"], account) in fed for each in relays for account in each["accounts"])


def test_structure_shifts_at_the_change(truth: dict[str, Any]) -> None:
    structure = [alarm for alarm in truth["alarms"] if alarm["family"] == "structure"]
    grown = {alarm["signal"]: alarm["after"] / alarm["before"] for alarm in structure}
    assert grown["shared_device_share"] > 1.7
    assert grown["accounts_opened"] > 3
    assert grown["largest_merchants_share"] > 1


def test_command_line_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "data"
    for _ in range(2):
        assert main(["--output", str(output), "--scale", str(SCALE)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 and said[0].startswith("sample: ") and "fraud" in said[0]
    assert [item.name for item in output.parent.iterdir()] == ["data"]


def test_a_folder_with_foreign_files_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.csv").write_text("precious")
    assert main(["--output", str(tmp_path), "--scale", str(SCALE)]) == 2
    assert "mine.csv" in capsys.readouterr().err
    assert [item.name for item in tmp_path.iterdir()] == ["mine.csv"]


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("precious")
    with pytest.raises(UserError, match="is a file"):
        write(make(7, SCALE), tmp_path / "data")
    assert (tmp_path / "data").read_text() == "precious"


@pytest.mark.parametrize("arguments", [["--seed", "-1"], ["--scale", "0"], ["--scale", "nan"], ["--scale", "1000"]])
def test_wrong_numbers_are_refused(tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--output", str(tmp_path / "data"), *arguments]) == 2
    assert arguments[0] in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_the_whole_sample_is_small_enough_to_keep_in_the_repository(tmp_path: Path) -> None:
    size = write(make(), tmp_path / "data")
    assert size.payments >= 200_000
    assert size.bytes <= 6.5e6
