"""Where the work on tables is done: the same Ibis expressions on DuckDB or, where tables outgrow one machine, on Spark.

Two things would differ between the engines and so are not left to them. What a value means (is ``"1e3"`` a number,
which texts are times) is decided by DuckDB in both: Spark's workers run it on a file each. And the files that come out
are written here, by one writer, from ordered batches. What is left to Spark is what it is good at: joining, grouping
and ordering tables that fit nowhere.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from graphmill.engine.params import EngineParams as EngineParams

if TYPE_CHECKING:
    from graphmill.engine.files import Files


class Engine(Protocol):
    """What ``ingest`` and ``graph`` ask of an engine."""

    local: Any
    """An Ibis connection to a DuckDB on this machine: it says what the values of sources mean."""

    def open(self, files: "Files") -> Any:
        """The rows of a source, as an expression of ``local``.

        Raises:
            UserError: for a kind of file that the engine does not read.
        """

    def scan(self, name: str, rows: Any) -> Any:
        """Keep an expression over one source, opened by ``open``: each row judged by itself, or grouped file by file.

        ``row__`` numbers the rows of all files of the source, in the order of the files.
        """

    def keep(self, name: str, rows: Any) -> Any:
        """Keep the rows of an expression under a name."""

    def add(self, name: str, rows: Any) -> int:
        """Add rows to what is kept under a name; how many there were."""

    def table(self, name: str) -> Any:
        """What is kept under a name."""

    def read(self, file: Path) -> Any:
        """A Parquet file that a stage wrote, with its row numbers as ``row__``."""

    def microseconds(self, time: Any) -> Any:
        """A timestamp as whole microseconds since 1970."""

    def bring(self, rows: Any) -> Any:
        """Few rows, as an expression of ``local``."""

    def arrow(self, rows: Any) -> Any:
        """Rows as an Arrow table in memory."""

    def batches(self, rows: Any) -> Iterator[Any]:
        """Ordered rows as Arrow batches, never all in memory."""


@contextmanager
def connect(params: EngineParams, scratch: Path, stage: str) -> Iterator[Engine]:
    """An engine that keeps its tables in ``scratch``, which is gone afterwards.

    Raises:
        UserError: for Spark, when pyspark or Java is missing or the session does not start.
    """
    from graphmill.engine import database, spark  # who only reads what they wrote needs neither

    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        with (spark.connect if params.engine == "spark" else database.connect)(params, scratch, stage) as engine:
            yield engine
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
