"""Interface of what a pipeline does when nothing is retrained."""

from kfp.dsl import Dataset, Input

from components.stage import stage


@stage
def keep(drift_report: Input[Dataset]):
    """Say why the model stays: what drift found, and what held a retraining back."""
    from graphmill import drift as work

    work.keep(drift_report.path)
