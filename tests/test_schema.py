"""The schema: which relations it declares, and what it refuses."""

import pytest

from graphmill.errors import UserError
from graphmill.schema import Column, Schema
from tests import tiny

SCHEMA = {
    "nodes": {
        "user": {},
        "item": {"table": "items", "key": "id"},
        "order": {
            "table": "orders",
            "key": "id",
            "time": "at",
            "links": {"user id": "user", "item": {"node": "item", "reverse": False}},
        },
    },
    "edges": {
        "follows": {"table": "follows", "source": {"user": "a"}, "target": {"user": "b"}},
        "friends": {"table": "friends", "source": {"user": "a"}, "target": {"user": "b"}, "undirected": True},
        "likes": {"table": "likes", "source": {"user": "u"}, "target": {"item": "i"}, "reverse": False},
    },
}


def changed(**values):
    return {**SCHEMA, **values}


def edge(**values):
    return {"edges": {"likes": SCHEMA["edges"]["likes"] | values}}


def nodes(**values):
    return {"nodes": SCHEMA["nodes"] | values}


def test_relations_in_declared_order():
    relations = Schema.parse(SCHEMA).relations()
    facts = [(item.name, item.reversed, item.undirected, item.node, item.edge) for item in relations]
    # Mappings are read in the order of their keys, so that their order in the file never matters.
    assert facts == [
        ("order.item.item", False, False, "order", None),
        ("order.user_id.user", False, False, "order", None),
        ("user.rev_user_id.order", True, False, "order", None),
        ("user.follows.user", False, False, None, "follows"),
        ("user.rev_follows.user", True, False, None, "follows"),
        ("user.friends.user", False, True, None, "friends"),
        ("user.likes.item", False, False, None, "likes"),
    ]
    assert relations[1].column == "user id"


def test_the_order_in_the_file_does_not_matter():
    turned = {key: dict(reversed(value.items())) for key, value in reversed(SCHEMA.items())}
    assert Schema.parse(turned).relations() == Schema.parse(SCHEMA).relations()


def test_tables_are_named_once():
    assert Schema.parse(SCHEMA).tables() == ["items", "orders", "follows", "friends", "likes"]
    shared = changed(**nodes(item={"table": "orders", "key": "item"}))
    assert Schema.parse(shared).tables().count("orders") == 1


def test_short_forms_say_the_same():
    described = tiny.params()["schema"]
    schema = Schema.parse(described, "schema")
    payment = schema.nodes["payment"]
    assert payment.links["customer_id"].canonical() == {"node": "customer", "required": False, "reverse": True}
    assert schema.nodes["customer"].columns["age"] == Column(kind="numeric")
    assert Schema.parse(schema.canonical()) == schema


def test_categories_are_text():
    column = Column.parse({"kind": "category", "categories": [1.0, 2.5, 3, "x"]})
    assert column.categories == ["1", "2.5", "3", "x"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nodes": {}}, "schema.nodes: Dictionary should have at least 1 item"),
        (nodes(user=None), "schema.nodes.user: must be a mapping"),
        (nodes(**{"a b": {}}), "schema: 'a b' is not a name: a letter, then letters, digits and _ only"),
        (nodes(**{"7up": {}}), "'7up' is not a name"),
        (nodes(**{"a.b": {}}), "'a.b' is not a name"),
        (nodes(order={"table": "orders"}), "schema.nodes.order: a node type with a table needs `key`"),
        (nodes(user={"key": "id"}), "schema.nodes.user: a node type without a `table` has no key"),
        (nodes(user={"columns": {"x": "numeric"}}), "schema.nodes.user: a node type without a `table`"),
        (nodes(user={"table": "../users", "key": "id"}), "schema.nodes.user.table: must be the name of a table"),
        (nodes(user={"table": "", "key": "id"}), "schema.nodes.user.table: must be the name of a table"),
        (nodes(likes={}), "schema.nodes.likes: has no table, so it cannot have the name of one"),
        (
            nodes(order=SCHEMA["nodes"]["order"] | {"links": {"x": "shop"}}),
            "schema.nodes.order.links.x: no node type 'shop'; known: item, order, user",
        ),
        (edge(source={"usr": "u"}), "schema.edges.likes: no node type 'usr'"),
        (edge(target={"itm": "i"}), "schema.edges.likes: no node type 'itm'"),
        (edge(source={"user": "u", "item": "i"}), r"schema.edges.likes.source: must be one \{node type: column\}"),
        (edge(source={}), "schema.edges.likes.source: must be one"),
        (edge(source="u"), "schema.edges.likes.source: must be a mapping"),
        (edge(undirected=True), "schema.edges.likes: an undirected edge type joins nodes of one type"),
        (edge(table="a/b"), "schema.edges.likes.table: must be the name of a table"),
        ({"time": "date"}, "schema.time: must be 'timestamp' or 'step'"),
    ],
)
def test_a_wrong_schema(values, message):
    with pytest.raises(UserError, match=message):
        Schema.parse(changed(**values), "schema")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"links": {"user id": "user", "user_id": "user"}}, {}),
        (
            {"links": {"likes": "user"}},
            {"edges": {"likes": {"table": "x", "source": {"order": "a"}, "target": {"user": "b"}}}},
        ),
        (
            {"links": {"x": "order", "rev_x": "order"}},
            {},
        ),
    ],
)
def test_an_edge_type_declared_twice(first, second):
    described = changed(**nodes(order=SCHEMA["nodes"]["order"] | first), **second)
    with pytest.raises(UserError, match="schema: edge type '.*' is declared twice"):
        Schema.parse(described, "schema")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"kind": "category", "minimum": 3}, "minimum and maximum are for numeric columns, not category"),
        ({"kind": "numeric", "categories": ["a"]}, "categories are for category columns, not numeric"),
        ({"kind": "category", "scale": "log"}, "scale is for numeric and vector columns, not category"),
        ({"kind": "numeric", "minimum": 3, "maximum": 1}, "minimum 3 is above maximum 1"),
        ({"kind": "category", "categories": [True]}, "categories: a value is read as true; write it in quotes"),
        ({"kind": "category", "categories": [None]}, "categories: a value is read as null"),
        ({"kind": "category", "categories": "a"}, "categories: must be a list"),
    ],
)
def test_a_wrong_column(column, message):
    with pytest.raises(UserError, match=f"schema.nodes.item.columns.x.*{message}"):
        Schema.parse({"nodes": {"item": {"table": "t", "key": "k", "columns": {"x": column}}}}, "schema")
