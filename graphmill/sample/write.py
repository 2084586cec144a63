"""The sample as Parquet files and truth.json: the same bytes every time, and all of them or none."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from graphmill.artifact import to_json
from graphmill.errors import UserError
from graphmill.sample.make import Sample
from graphmill.sample.names import names
from graphmill.sample.rows import tables
from graphmill.sample.truth import truth

FILES = (
    "accounts.parquet",
    "devices.parquet",
    "logins.parquet",
    "merchants.parquet",
    "payments.parquet",
    "transfers.parquet",
    "truth.json",
)
_ENCODINGS = {"payment_id": "DELTA_BYTE_ARRAY", "paid_at": "DELTA_BINARY_PACKED", "at": "DELTA_BINARY_PACKED"}
"""What a dictionary cannot shorten: names that count up, and moments."""


@dataclass(frozen=True)
class Size:
    """What was written."""

    payments: int
    fraud: int
    accounts: int
    merchants: int
    devices: int
    bytes: int

    def describe(self) -> str:
        """One line for people."""
        return (
            f"{self.payments:,} payments ({self.fraud / self.payments:.2%} fraud), "
            f"{self.accounts:,} accounts, {self.merchants:,} merchants, {self.devices:,} devices, "
            f"{self.bytes / 1e6:.1f} MB"
        )


def check_output(output: str | Path) -> Path:
    """The folder to write, as an absolute path without links.

    Raises:
        UserError: when it is a file, or holds anything that the sample does not consist of.
    """
    folder = Path(output).resolve()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{output}: is a file; give --output a folder that is new or holds only the sample")
    foreign = sorted({item.name for item in folder.iterdir()} - set(FILES)) if folder.is_dir() else []
    if foreign:
        what = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise UserError(
            f"{output}: holds files that are not the sample's ({what}) and would be lost; "
            "move them away or give another --output"
        )
    return folder


def write(sample: Sample, output: str | Path) -> Size:
    """Write all files into a hidden sibling folder, then put it in the place of ``output``.

    Raises:
        UserError: when ``output`` holds foreign files or cannot be written.
    """
    folder = check_output(output)
    partial = folder.parent / f".{folder.name}.partial"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        _write_files(sample, partial)
        size = _size(sample, partial)
        _replace(partial, folder)
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename})"
        raise UserError(f"{folder}: cannot be written: {reason}; free the space or give another --output") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return size


def _write_files(sample: Sample, folder: Path) -> None:
    named = names(sample)
    for name, table in tables(sample, named).items():
        _write_table(table, folder / f"{name}.parquet")
    (folder / "truth.json").write_text(to_json(truth(sample, named)), encoding="utf-8")


def _write_table(table: pa.Table, path: Path) -> None:
    """Every option that shapes the bytes is fixed here, none is left to a default that may change."""
    encodings = {name: encoding for name, encoding in _ENCODINGS.items() if name in table.column_names}
    pq.write_table(
        table,
        path,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=19,
        row_group_size=1 << 20,
        use_dictionary=[name for name in table.column_names if name not in encodings],
        column_encoding=encodings,
        write_statistics=True,
        store_schema=True,
    )


def _size(sample: Sample, folder: Path) -> Size:
    world = sample.world
    return Size(
        payments=len(sample.payments.at),
        fraud=int(np.count_nonzero(sample.payments.operation >= 0)),
        accounts=len(world.accounts.opened_at),
        merchants=len(world.merchants.online),
        devices=len(world.devices.system),
        bytes=sum(item.stat().st_size for item in folder.iterdir()),
    )


def _replace(partial: Path, folder: Path) -> None:
    """Two renames; if the second fails, what stood there before comes back."""
    old = folder.parent / f".{folder.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    stood = folder.exists()
    if stood:
        os.rename(folder, old)
    try:
        os.rename(partial, folder)
    except OSError:
        if stood:
            os.rename(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
