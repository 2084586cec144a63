"""Interface of what comes at the end of every run, however it ended."""

from kfp.dsl import PipelineTaskFinalStatus

from components.stage import stage


@stage
def notify(status: PipelineTaskFinalStatus, pipeline: str, run: str, revision: str, report: dict):
    """Tell the log, and whom `cluster.report` names, how the run ended; it never fails."""
    from graphmill import notify as work

    end = work.End(pipeline, run, status.state, status.error_message or "", revision)
    work.run(end, report)
