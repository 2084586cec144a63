import asyncio
import math

import pytest

from graphmill.serving.batching import Answered, Batcher
from graphmill.serving.failure import Failure, Kind
from graphmill.serving.instance import Instance, Options
from tests.oracle import Oracle
from tests.serving import Served

PLAIN, EMBEDDED, EXPLAINED = Options(), Options(embedding=True), Options(explanation=True)
ONE = b'{"instances": [{"id": "a"}]}'
PREDICT = "/v1/models/oracle:predict"


def ask(batcher: Batcher, *keys: str, options: Options = PLAIN, deadline: float = math.inf):
    return batcher.ask([Instance(id=key) for key in keys], options, deadline)


def answers(oracle: Oracle, *asked, queue_limit: int = 100, batch_limit: int = 10) -> list[Answered | BaseException]:
    """What those who ask in the same turn get; each of ``asked`` is keys and options, or a function of the queue."""

    async def run() -> list[Answered | BaseException]:
        batcher = Batcher(oracle, queue_limit, batch_limit)
        found = await asyncio.gather(
            *(one(batcher) if callable(one) else ask(batcher, *one[0], options=one[1]) for one in asked),
            return_exceptions=True,
        )
        assert batcher.waiting == 0
        return found

    return asyncio.run(run())


def keys(answered: Answered | BaseException) -> list[str]:
    assert isinstance(answered, Answered)
    return [answer.id for answer in answered.answers]


def test_what_waits_together_is_answered_by_one_forward():
    oracle = Oracle()
    found = answers(oracle, (["a", "b"], PLAIN), (["c"], PLAIN), (["d"], PLAIN))
    assert oracle.calls == [(["a", "b", "c", "d"], PLAIN)]
    assert [keys(one) for one in found] == [["a", "b"], ["c"], ["d"]]


def test_one_request_alone_waits_for_nobody():
    oracle = Oracle()

    async def turns() -> int:
        batcher = Batcher(oracle, 10, 10)
        asked = asyncio.ensure_future(ask(batcher, "a"))
        count = 0
        while not asked.done():
            await asyncio.sleep(0)
            count += 1
        return count

    assert asyncio.run(turns()) <= 4


def test_options_share_a_batch_and_not_a_forward():
    oracle = Oracle()
    found = answers(oracle, (["a"], PLAIN), (["b"], EMBEDDED), (["c"], PLAIN))
    assert oracle.calls == [(["a", "c"], PLAIN), (["b"], EMBEDDED)]
    assert [keys(one) for one in found] == [["a"], ["b"], ["c"]]
    assert found[1].answers[0].embedding is not None and found[2].answers[0].embedding is None


def test_a_forward_takes_the_batch_limit_or_one_larger_request():
    oracle = Oracle()
    answers(oracle, (["a", "b"], PLAIN), (["c", "d"], PLAIN), (list("efghi"), PLAIN), (["j"], PLAIN), batch_limit=4)
    assert [call[0] for call in oracle.calls] == [["a", "b", "c", "d"], list("efghi"), ["j"]]


def test_explanations_come_after_the_others_one_request_at_a_time():
    oracle = Oracle()
    order: list[str] = []

    async def told(batcher: Batcher, key: str, options: Options) -> None:
        await ask(batcher, key, options=options)
        order.append(f"{key} after {len(oracle.calls)} calls")

    asked = [("x", EXPLAINED), ("y", EXPLAINED), ("a", PLAIN), ("b", PLAIN)]
    answers(oracle, *(lambda batcher, key=key, options=options: told(batcher, key, options) for key, options in asked))
    assert [call[0] for call in oracle.calls] == [["a", "b"], ["x"], ["y"]]
    # the plain answers are out before the first explanation begins
    assert order[:2] == ["a after 1 calls", "b after 1 calls"]


def test_explanations_do_not_starve_others_nor_starve():
    oracle = Oracle()

    async def stream(batcher: Batcher) -> None:
        for place in range(20):
            await ask(batcher, f"p{place}")

    answers(oracle, stream, *((["x"], EXPLAINED) for _ in range(5)))
    kinds = [call[1].explanation for call in oracle.calls]
    last = max(place for place, slow in enumerate(kinds) if slow)
    assert kinds.count(True) == 5 and kinds[:last].count(False) >= 4 and last < 20


def test_a_full_queue_refuses_at_once():
    oracle = Oracle()
    found = answers(oracle, (["a", "b"], PLAIN), (["c"], EXPLAINED), (["d"], PLAIN), (["e"], PLAIN), queue_limit=4)
    assert [isinstance(one, Answered) for one in found] == [True, True, True, False]
    assert isinstance(found[3], Failure) and found[3].kind is Kind.OVERLOADED
    assert "e" not in [key for call in oracle.calls for key in call[0]]


def test_what_is_late_is_not_computed():
    oracle = Oracle()
    found = answers(
        oracle, (["a"], PLAIN), lambda batcher: ask(batcher, "late", deadline=asyncio.get_running_loop().time() - 1)
    )
    assert isinstance(found[0], Answered) and isinstance(found[1], Failure) and found[1].kind is Kind.LATE
    assert oracle.calls == [(["a"], PLAIN)]


def test_who_is_gone_costs_nothing():
    oracle = Oracle()

    async def gone(batcher: Batcher) -> None:
        asked = asyncio.ensure_future(ask(batcher, "gone"))
        await asyncio.sleep(0)
        asked.cancel()

    found = answers(oracle, gone, (["a"], PLAIN))
    assert keys(found[1]) == ["a"]
    assert ["gone"] not in [call[0] for call in oracle.calls]


def test_a_refused_instance_refuses_its_request_alone():
    oracle = Oracle()
    found = answers(oracle, (["a", "bad1"], PLAIN), (["b"], PLAIN))
    assert isinstance(found[0], Failure) and found[0].kind is Kind.INVALID
    assert found[0].reason == "instances[1]: bad1 is not a payment; give its key"
    assert keys(found[1]) == ["b"] and len(oracle.calls) == 1


def test_a_bug_fails_its_request_alone(caplog):
    oracle = Oracle()
    found = answers(oracle, (["a"], PLAIN), (["boom"], PLAIN), (["b"], PLAIN))
    assert isinstance(found[1], Failure) and found[1].kind is Kind.INTERNAL
    assert [keys(found[0]), keys(found[2])] == [["a"], ["b"]]
    assert "a bug" in caplog.text


def test_the_deadline_of_a_request_is_kept():
    slow, late, fine = Served(deadline_ms=60_000).together(
        lambda client: client.post(PREDICT, content=b'{"instances": [{"id": "sleep0.1"}]}'),
        lambda client: client.post("/v1/models/oracle:explain", content=ONE, headers={"x-request-timeout-ms": "1"}),
        lambda client: client.post("/v1/models/oracle:explain", content=ONE),
    )
    assert (slow.status_code, late.status_code, fine.status_code) == (200, 504, 200)
    assert "deadline" in late.json()["error"]
    zero = Served().post(PREDICT, ONE, {"x-request-timeout-ms": "0"})
    assert zero.status_code == 504


def test_the_deadline_of_a_request_is_capped():
    _, late = Served(deadline_ms=1).together(
        lambda client: client.post(PREDICT, content=b'{"instances": [{"id": "sleep0.1"}]}'),
        lambda client: client.post(
            "/v1/models/oracle:explain", content=ONE, headers={"x-request-timeout-ms": "99999999"}
        ),
    )
    assert late.status_code == 504


def test_an_overloaded_server_says_when_to_come_back():
    served = Served(queue_limit=2, instances_limit=2)
    found = served.together(*[lambda client: client.post(PREDICT, content=ONE)] * 3)
    assert sorted(answer.status_code for answer in found) == [200, 200, 429]
    refused = next(answer for answer in found if answer.status_code == 429)
    assert refused.headers["retry-after"] == "1" and "wait already" in refused.json()["error"]


def test_staleness_and_version_are_those_of_the_forward():
    oracle = Oracle()
    (found,) = answers(oracle, (["a"], PLAIN))
    assert (found.name, found.version, found.graph) == ("oracle", "sha256:0a", oracle.graph())


@pytest.mark.parametrize("number", [1, 7, 50])
def test_every_request_gets_its_own_answers(number):
    oracle = Oracle()
    asked = [
        ([f"{place}.{part}" for part in range(place % 3 + 1)], (PLAIN, EMBEDDED)[place % 2]) for place in range(number)
    ]
    found = answers(oracle, *asked, queue_limit=1000, batch_limit=8)
    assert [keys(one) for one in found] == [wanted for wanted, _ in asked]
