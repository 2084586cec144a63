"""Triton's own gRPC client against the port given, told as JSON.

A process of its own: it registers the protocol's messages under the names that KServe's have.
"""

import json
import sys

import numpy as np
import tritonclient.grpc as triton


def main() -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{sys.argv[1]}") as client:
        ready = client.is_server_live() and client.is_server_ready() and client.is_model_ready("oracle")
        keys = triton.InferInput("id", [2], "BYTES")
        keys.set_data_from_numpy(np.array(["a", "b"], dtype=object))
        moments = triton.InferInput("at", [2], "INT64")
        moments.set_data_from_numpy(np.array([5, 6]))
        names = ("score", "decision", "at", "embedding", "explanation")
        wanted = [triton.InferRequestedOutput(name) for name in names]
        found = client.infer("oracle", [keys, moments], outputs=wanted, request_id="q")
        told = {name: found.as_numpy(name).astype(str if name == "explanation" else None).tolist() for name in names}
        response = found.get_response()
        told |= {"ready": ready, "id": response.id, "snapshot": response.parameters["snapshot"].string_param}
        told["versions"] = list(client.get_model_metadata("oracle").versions)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
