"""KServe, imported under an empty command line: it reads ``sys.argv`` when it is imported.

Left alone it would take our ``--model=/mnt/models`` for an abbreviation of its own ``--model_name``.
"""

import sys

_given, sys.argv = sys.argv, sys.argv[:1]
try:
    from kserve import Model, ModelServer
    from kserve.logging import configure_logging
    from kserve.model import InferenceVerb
    from kserve.model_server import app
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
    from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs
    from kserve.protocol.grpc.server import GRPCServer
finally:
    sys.argv = _given

__all__ = ["GRPCServer", "InferenceVerb", "Model", "ModelServer", "app", "configure_logging", "messages", "stubs"]
