"""The one kind of error that a user can cause."""


class UserError(Exception):
    """Something the user gave is wrong; the text says what, where and what to do.

    Command lines print the text alone and exit with status 2: no traceback for a user's mistake.
    """
