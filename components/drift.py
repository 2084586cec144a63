"""Interface of the stage `drift`."""

from kfp.dsl import HTML, Dataset, Input, Model, Output

from components.stage import stage


@stage
def drift(
    model: Input[Model],
    graph: Input[Dataset],
    features: Input[Dataset],
    params: dict,
    tracking: dict,
    drift_report: Output[Dataset],
    report: Output[HTML],
) -> str:
    """Compare the newest period with the past; `retrain`, `request_labels`, `watch`, `ok` or `page`."""
    import shutil

    from graphmill import drift as work
    from graphmill.tracking import tracked

    with tracked("drift", drift_report.path, tracking):
        answer = work.run(model.path, graph.path, features.path, drift_report.path, work.Params.parse(params, "drift"))
    shutil.copyfile(f"{drift_report.path}/report.html", report.path)
    return answer
