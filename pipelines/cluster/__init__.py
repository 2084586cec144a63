"""The client of a Kubeflow Pipelines server: upload, submit, watch, schedule, look.

`client` is the one door to the server; nothing else here knows its HTTP.
"""
