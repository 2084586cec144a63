"""Interface of the stage `graph`."""

from kfp.dsl import Dataset, Input, Output

from components.stage import stage


@stage
def graph(tables: Input[Dataset], params: dict, tracking: dict, graph: Output[Dataset]):
    """Give every node an integer id and write one time-sorted adjacency per edge type and direction."""
    from graphmill import graph as work
    from graphmill.tracking import tracked

    with tracked("graph", graph.path, tracking):
        work.run(tables.path, graph.path, work.Params.parse(params, "graph"))
