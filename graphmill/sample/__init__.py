"""A made-up year of payments with planted fraud whose truth is known: the data a fresh copy starts from.

``python -m graphmill.sample`` writes it; docs/sample.md says what is in it and what an alarm should find.
"""

from graphmill.sample.make import Sample, make
from graphmill.sample.write import write

__all__ = ["Sample", "make", "write"]
