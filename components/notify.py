"""Interface of what comes at the end of every run, however it ended."""

from kfp.dsl import PipelineTaskFinalStatus

from components.stage import stage


@stage
def notify(status: PipelineTaskFinalStatus, pipeline: str, run: str, revision: str, report: dict):
    """Tell the log, and whom `cluster.report` names, how the run ended; it never fails."""
    from components import workflow
    from graphmill import notify as work

    found = workflow.ended(status.pipeline_job_resource_name)
    state, error = found or (status.state, status.error_message or "")
    work.run(work.End(pipeline, run, state, error, revision), report)
