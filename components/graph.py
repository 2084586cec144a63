"""Interface of the stage `graph`."""

from kfp.dsl import Dataset, Input, Output

from components.stage import stage


@stage
def graph(tables: Input[Dataset], params: dict, graph: Output[Dataset]):
    """Give every node an integer id and write one time-sorted adjacency per edge type and direction."""
    from graphmill import graph as work

    work.run(tables.path, graph.path, work.Params.parse(params, "graph"))
