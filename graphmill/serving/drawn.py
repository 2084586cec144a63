"""A share of the requests, drawn by their ids: the same for the same request, on every replica and in every retry."""

import hashlib


def drawn(request: str, share: float, purpose: bytes = b"") -> bool:
    """Whether a request belongs to a share of all.

    Args:
        request: its id.
        share: the share, 0 to 1; a larger share holds what a smaller one holds.
        purpose: what it is drawn for, at most 16 bytes: draws for different purposes know nothing of each other.
    """
    return share >= 1 or place(request, purpose) < share


def place(request: str, purpose: bytes = b"") -> float:
    """Where in [0, 1) the id of a request falls, all places alike."""
    return int.from_bytes(hashlib.blake2b(request.encode(), digest_size=4, person=purpose).digest()) / 2**32
