"""Interface of the stage `evaluate`."""

from kfp.dsl import HTML, ClassificationMetrics, Dataset, Input, Markdown, Metrics, Model, Output

from components.stage import stage


@stage
def evaluate(
    model: Input[Model],
    graph: Input[Dataset],
    features: Input[Dataset],
    params: dict,
    tracking: dict,
    evaluation: Output[Dataset],
    metrics: Output[Metrics],
    curves: Output[ClassificationMetrics],
    report: Output[HTML],
    card: Output[Markdown],
) -> str:
    """Judge the models on the test part; the answer is `pass` or `block`."""
    from graphmill import evaluate as work
    from graphmill.tracking import tracked

    with tracked("evaluate", evaluation.path, tracking):
        answer = work.run(model.path, graph.path, features.path, evaluation.path, work.Params.parse(params, "evaluate"))
    shown = work.display.read(model.path, evaluation.path)
    metrics.metadata.update(shown.figures)
    curves.log_roc_curve(*shown.roc)
    curves.log_confusion_matrix(list(work.display.CLASSES), shown.confusion)
    shown.write(metrics.path, curves.path, report.path, card.path)
    return answer
