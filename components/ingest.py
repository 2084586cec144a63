"""Interface of the stage `ingest`."""

from kfp.dsl import Dataset, Input, Output

from components.stage import stage


@stage
def ingest(data: Input[Dataset], schema: dict, task: dict, params: dict, tracking: dict, tables: Output[Dataset]):
    """Read the sources, check the data contract, quarantine bad rows and write clean tables."""
    from graphmill import ingest as work
    from graphmill.schema import Schema
    from graphmill.task import Task
    from graphmill.tracking import tracked

    with tracked("ingest", tables.path, tracking):
        work.run(
            data.path,
            tables.path,
            Schema.parse(schema, "schema"),
            Task.parse(task, "task"),
            work.Params.parse(params, "ingest"),
        )
