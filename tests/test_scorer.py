"""Judging instances: known, brought along, changed, refused; and why they are judged so."""

import shutil

import numpy as np
import pytest

from graphmill.model import Model
from graphmill.serving.instance import Answer, Instance, Options, Refusal
from graphmill.serving.live import snapshot
from graphmill.serving.live.apply import apply
from graphmill.serving.scorer import Scorer
from tests import live

NOW = 1_746_100_000_000_000
"""Some time after the snapshot: 1 May 2025."""


@pytest.fixture
def scorer(tiny_run, tmp_path):
    folder = tmp_path / "snapshot"
    for name in ("graph", "features"):
        shutil.copytree(tiny_run / "artifacts" / name, folder / name)
    found = snapshot.open(folder, 1_000, 20_000)
    return Scorer(Model.open(tiny_run / "artifacts" / "model"), live.Plain(), found, [3, 4], False, 0)


def payment(number, **changes):
    return {
        "id": f"n{number}", "at": f"2025-05-01T{10 + number % 10}:00:00",
        "columns": {"amount": 12.5 + number, "channel": "online"},
        "links": {"customer_id": f"c{number % 60:03d}", "terminal_id": f"t{number % 20}"},
    } | changes  # fmt: skip


def happened(instance):
    """The event that makes an instance part of the graph."""
    return {
        "id": f"event {instance['id']}", "kind": "node", "type": "payment", "key": instance["id"],
        "time": instance["at"], "columns": instance["columns"], "links": instance["links"],
    }  # fmt: skip


def alike(some, others):
    """The same answers, but for the last digits of a sum in another order."""
    assert [(one.id, one.known, one.at) for one in some] == [(one.id, one.known, one.at) for one in others]
    np.testing.assert_allclose(*([one.score for one in part] for part in (some, others)), rtol=1e-9)


def ask(scorer, *instances, **options):
    return scorer.answer([Instance(**item) for item in instances], Options(**options), NOW)


def test_a_node_brought_along_is_judged_as_if_it_had_happened(scorer):
    brought = [payment(number) for number in range(12)]
    before = ask(scorer, *brought)
    assert all(isinstance(answer, Answer) and not answer.known for answer in before)
    for instance, answer in zip(brought, before, strict=True):
        alike(ask(scorer, instance), [answer])
    for instance in brought:  # each may change how the next is judged
        alone = ask(scorer, instance)[0]
        apply(scorer.live, [happened(instance)])
        after = ask(scorer, {"id": instance["id"]})[0]
        assert after.known and after.score == pytest.approx(alone.score, rel=1e-6)
    assert len({round(answer.score, 9) for answer in before}) > 6


def test_what_is_brought_along_leaves_no_trace(scorer):
    known = [{"id": f"p{number:05d}"} for number in range(0, 900, 40)]
    before = ask(scorer, *known)
    counts = {node: scorer.live.count(node) for node in scorer.live.keys}
    ask(scorer, *(payment(number) for number in range(50)))
    alike(ask(scorer, *known), before)
    assert {node: scorer.live.count(node) for node in scorer.live.keys} == counts
    apply(scorer.live, [happened(payment(70)), happened(payment(71))])
    mixed = ask(scorer, payment(3), {"id": "n70"}, payment(4), {"id": "n71"})
    alike([mixed[1], mixed[3]], ask(scorer, {"id": "n70"}, {"id": "n71"}))


def test_known_events_are_judged_at_their_own_time_and_later_if_asked(scorer):
    born = scorer.live.time("payment")[scorer.live.keys["payment"]["p00100"]]
    own, later = ask(scorer, {"id": "p00100"}, {"id": "p00100", "at": "2025-05-01"})
    assert own.at == born and later.at > born and own.score != later.score


def test_columns_given_for_a_known_node_count_for_this_answer_alone(scorer):
    own, other, again = ask(scorer, {"id": "p00100"}, {"id": "p00100", "columns": {"amount": 9_999}}, {"id": "p00100"})
    alike([own], [again])
    assert other.known and other.score != own.score
    same = float(scorer.live.matrix("nodes/payment")[scorer.live.keys["payment"]["p00100"], 0])
    assert ask(scorer, {"id": "p00100", "columns": {"amount": same}})[0].score == pytest.approx(own.score, rel=1e-6)


@pytest.mark.parametrize("instance, told", [
    ({"id": "nobody"}, "no payment 'nobody'; give its columns"),
    ({"id": "p00100", "at": "2024-01-01"}, "not there yet at 2024-01-01T00:00:00: it is from"),
    ({"id": "p00100", "at": "noon"}, "at: 'noon' is not a moment"),
    (payment(1, columns={"amount": "12"}), "payment.amount: must be a finite number"),
    (payment(1, columns={"amount": -1}), "payment.amount: must be at least 0"),
    (payment(1, columns={"colour": "red"}), "no column 'colour'; known: amount, channel"),
    (payment(1, links={"shop": "x"}), "no link 'shop'; known: customer_id, terminal_id"),
    (payment(1, edges=[{"edge": "refers", "source": "c001"}]), r"edges\[0\]: refers: that end is a customer, not"),
    (payment(1, edges=[{"edge": "hates", "source": "c001"}]), r"edges\[0\]: no edge table 'hates'; known: refers"),
])  # fmt: skip
def test_what_cannot_be_judged_is_refused_with_its_reason(scorer, instance, told):
    answers = ask(scorer, {"id": "p00100"}, instance, payment(2))
    assert isinstance(answers[0], Answer) and isinstance(answers[2], Answer)
    assert isinstance(answers[1], Refusal)
    with pytest.raises(AssertionError, match=told):
        raise AssertionError(answers[1].reason)


def test_a_link_to_nobody_leads_nowhere_and_is_counted(scorer):
    stranger = ask(scorer, payment(1, links={"customer_id": "c999", "terminal_id": "t1"}))[0]
    assert scorer.tally.unknown == 1
    alike([stranger], ask(scorer, payment(1, links={"terminal_id": "t1"})))


def test_an_explanation_says_what_one_thing_alone_changes(scorer):
    plain = ask(scorer, payment(5))[0]
    told = ask(scorer, payment(5), explanation=True)[0]
    alike([told], [plain])
    assert plain.explanation is None
    assert len(told.explanation) > 3
    effects = [abs(reason.effect) for reason in told.explanation]
    assert effects == sorted(effects, reverse=True)
    amount = next(reason for reason in told.explanation if reason.name == "amount")
    without = ask(scorer, payment(5, columns={"channel": "online"}))[0]
    moved = np.log(plain.score / (1 - plain.score)) - np.log(without.score / (1 - without.score))
    assert amount.effect == pytest.approx(moved, rel=1e-4)
    neighbour = next(reason for reason in told.explanation if reason.kind == "neighbour")
    assert neighbour.name.split(": ")[1] in ("c005", "t5")


def test_embeddings_come_when_asked_for(scorer):
    plain, told = ask(scorer, payment(5))[0], ask(scorer, payment(5), embedding=True)[0]
    assert plain.embedding is None and told.embedding.shape == (1,)


def test_a_node_that_was_only_mentioned_is_judged_by_what_is_known_of_it(scorer):
    apply(scorer.live, [{"id": "l1", "kind": "label", "key": "n1", "value": True, "known_at": "2025-05-01"}])
    (mentioned,) = ask(scorer, {"id": "n1", "at": "2025-05-02"})
    assert mentioned.known
    (brought,) = ask(scorer, payment(1))
    assert not brought.known and brought.score != mentioned.score
    apply(scorer.live, [happened(payment(1))])
    (after,) = ask(scorer, {"id": "n1"})
    assert after.known and after.score == pytest.approx(brought.score, rel=1e-6)
