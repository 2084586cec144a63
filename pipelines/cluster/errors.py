"""What a server's answer can mean, beside the user's mistake."""

from graphmill.errors import UserError


class Unreachable(Exception):
    """No answer, or one that says to come again later: it is not known what became of the request."""


class Absent(UserError):
    """The server knows no such thing."""


class Exists(UserError):
    """The server has one of that name already."""
