"""Load on a server from a process of its own: `python -m benchmarks.load`, its work as JSON on standard input.

Every request is made before the clock starts, so that the client costs little and the same for every server.
"""

import asyncio
import json
import socket
import sys
import time
from typing import Any

PROTOCOLS = ("v1", "v2 json", "v2 binary", "grpc")


def main() -> None:
    """Run one task of standard input, print what it measured as JSON."""
    task = json.load(sys.stdin)
    print(json.dumps(asyncio.run(events(task) if task["kind"] == "events" else ask(task))))


async def ask(task: dict[str, Any]) -> dict[str, Any]:
    """Ask ``task["requests"]`` times over ``concurrency`` connections; latencies in seconds."""
    left = iter(range(task["requests"] + task["warm"]))
    found: list[float] = []
    connection = _grpc if task["protocol"] == "grpc" else _http
    start = time.perf_counter()
    await asyncio.gather(*(connection(task, left, found) for _ in range(task["concurrency"])))
    return {"seconds": time.perf_counter() - start, "latencies": sorted(found), "cpu": time.process_time()}


async def _http(task: dict[str, Any], left: Any, found: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", task["http"])
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    requests = [_request(task, key) for key in task["keys"]]
    for number in left:
        start = time.perf_counter()
        writer.write(requests[number % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        place = head.lower().index(b"\r\ncontent-length:") + 17
        body = await reader.readexactly(int(head[place : head.index(b"\r", place)]))
        if number >= task["warm"]:
            found.append(time.perf_counter() - start)
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"{task['protocol']}: {head[:40]!r} {body[:300]!r}")
    writer.close()


def _request(task: dict[str, Any], key: str) -> bytes:
    name, extra = task["name"], "content-type: application/json\r\n"
    if task["protocol"] == "v1":
        path, body = f"/v1/models/{name}:predict", json.dumps({"instances": [{"id": key}]}).encode()
    else:
        tensor: dict[str, Any] = {"name": "id", "datatype": "BYTES", "shape": [1]}
        path = f"/v2/models/{name}/infer"
        if task["protocol"] == "v2 json":
            body = json.dumps({"inputs": [tensor | {"data": [key]}]}).encode()
        else:
            raw = len(key.encode()).to_bytes(4, "little") + key.encode()
            tensor["parameters"] = {"binary_data_size": len(raw)}
            head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
            extra = f"content-type: application/octet-stream\r\ninference-header-content-length: {len(head)}\r\n"
            body = head + raw
    return f"POST {path} HTTP/1.1\r\nhost: l\r\n{extra}content-length: {len(body)}\r\n\r\n".encode() + body


async def _grpc(task: dict[str, Any], left: Any, found: list[float]) -> None:
    import grpc
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages

    async with grpc.aio.insecure_channel(f"127.0.0.1:{task['grpc']}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", lambda one: one, lambda one: one)
        requests = []
        for key in task["keys"]:
            raw = len(key.encode()).to_bytes(4, "little") + key.encode()
            tensor = messages.ModelInferRequest.InferInputTensor(name="id", datatype="BYTES", shape=[1])
            one = messages.ModelInferRequest(model_name=task["name"], inputs=[tensor], raw_input_contents=[raw])
            requests.append(one.SerializeToString())
        for number in left:
            start = time.perf_counter()
            await call(requests[number % len(requests)])
            if number >= task["warm"]:
                found.append(time.perf_counter() - start)


async def events(task: dict[str, Any]) -> dict[str, Any]:
    """Send ``rate`` events a second in batches of ``batch``; how long each took until it was durable and visible.

    Batches go out when they are due, whether or not those before were answered; a few connections take turns.
    """
    count = int(task["rate"] * task["seconds"] / task["batch"])
    lines = [json.dumps(_event(task, number)) for number in range(count * task["batch"])]
    places = [place * task["batch"] for place in range(count)]
    bodies = ["\n".join(lines[place : place + task["batch"]]).encode() for place in places]
    found: list[float] = []
    start = time.perf_counter()
    left = iter(range(count))

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", task["http"])
        for number in left:
            due = start + number * task["batch"] / task["rate"]
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            body = bodies[number]
            head = f"content-type: application/x-ndjson\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            writer.write(b"POST /v1/graph/events HTTP/1.1\r\nhost: l\r\n" + head + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            place = answer.lower().index(b"\r\ncontent-length:") + 17
            told = await reader.readexactly(int(answer[place : answer.index(b"\r", place)]))
            found.append(time.perf_counter() - due)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"events: {answer[:40]!r} {told[:300]!r}")
        writer.close()

    await asyncio.gather(*(connection() for _ in range(8)))
    return {"events": len(lines), "seconds": time.perf_counter() - start, "latencies": sorted(found)}


def _event(task: dict[str, Any], number: int) -> dict[str, Any]:
    """A new payment of a few that are known, with the columns and links that its schema has."""
    links = {column: keys[number * 7_919 % len(keys)] for column, keys in task["links"].items()}
    identifier = f"load-{task['run']}-{number}"
    return {
        "id": identifier, "kind": "node", "type": task["node"], "key": identifier, "time": task["time"],
        "columns": {name: 10.0 + number % 90 for name in task["columns"]}, "links": links,
    }  # fmt: skip


if __name__ == "__main__":
    main()
