"""What a Spark session needs, how it begins, and what its errors mean; pyspark itself is not met here."""

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

from graphmill.engine.database import short
from graphmill.engine.params import EngineParams
from graphmill.errors import UserError

PATTERN = re.compile(r"[\[\]{}*?\\]")
FROM_DUCKDB = re.compile(r"_?duckdb[\w.]*Exception: (.*(?:\n(?!\s*at |\n).*)*)")
CAUSE = re.compile(r"(\w+Exception|\w+Error): (.*)")


def check(params: EngineParams, scratch: Path, stage: str) -> None:
    """Whether Spark can run here.

    Raises:
        UserError: with what to install, or which folder Spark does not take.
    """
    if importlib.util.find_spec("pyspark") is None:
        raise UserError(f"{stage}.engine: spark needs pyspark; install graphmill[spark], or use engine duckdb")
    java = Path(os.environ["JAVA_HOME"], "bin", "java") if "JAVA_HOME" in os.environ else shutil.which("java")
    if java is None or not Path(java).exists():
        raise UserError(f"{stage}.engine: spark needs Java 17 or newer; install it and set JAVA_HOME, or use duckdb")
    if PATTERN.search(str(scratch)):
        raise UserError(f"{scratch.parent}: Spark takes some of these letters for a pattern; choose another folder")


def options(params: EngineParams, scratch: Path) -> dict[str, str]:
    """The options of a session of our own: what one machine wants, and over it what the user wants."""
    size, unit = re.fullmatch(r"([\d.]+) ?([KMGT])i?B", params.memory_limit).groups()  # type: ignore[union-attr]
    chosen = {"spark.master": f"local[{params.threads}]", "spark.app.name": "graphmill", "spark.log.level": "ERROR"}
    chosen |= {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"} | params.spark
    if not chosen["spark.master"].startswith("local"):
        return chosen
    alone = {
        "spark.driver.memory": f"{max(512, round(float(size) * 1024 ** ('KMGT'.index(unit) - 1)))}m",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": str(scratch / "shuffle"),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.shuffle.partitions": str(4 * params.threads),  # Spark's 200 would be as many small files
        "spark.pyspark.python": sys.executable,
        "spark.pyspark.driver.python": sys.executable,
    }
    return alone | chosen


def said_by_duckdb(error: Exception) -> str | None:
    """What DuckDB said in a worker, if it was DuckDB."""
    said = FROM_DUCKDB.findall(str(error))
    return str(said[-1]) if said else None


def broken(error: Exception, stage: str) -> UserError:
    """What a failed job says at its deepest."""
    causes = CAUSE.findall(str(error))
    told = ": ".join(causes[-1]) if causes else " ".join(str(error).split())
    if "JAVA_GATEWAY_EXITED" in str(error):
        return UserError(f"{stage}: Spark does not start; what Java says of it stands above; mend {stage}.spark")
    if "OutOfMemory" in str(error):
        return UserError(f"{stage}: Spark ran out of memory; raise spark.executor.memory or {stage}.memory_limit")
    return UserError(f"{stage}: Spark failed: {short(ValueError(told))}")
