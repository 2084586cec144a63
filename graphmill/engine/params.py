"""Parameters of the stages that work on tables in a database."""

from typing import Any, Literal

from pydantic import Field, field_validator

from graphmill.params import Section


class EngineParams(Section):
    """Where and how large the database is that a stage works in."""

    engine: Literal["duckdb", "spark"] = "duckdb"
    """What works on the tables: DuckDB on this machine, or Spark where tables outgrow it; both write the same bytes."""
    spark: dict[str, str] = Field(default_factory=dict)
    """Options of the Spark session by name, such as `spark.master`; without a master it runs on this machine."""
    memory_limit: str = Field(default="2GB", pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$")
    """How much memory the database may use; beyond it spills to disk."""
    threads: int = Field(default=2, ge=1, le=256)
    """Threads of the database."""

    @field_validator("spark", mode="before")
    @classmethod
    def _options(cls, values: Any) -> Any:
        """Spark's options are text; Kubeflow sends 8 as 8.0, and YAML false for false."""
        if not isinstance(values, dict):
            return values
        return {name: _text(value) for name, value in values.items()}


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else value
