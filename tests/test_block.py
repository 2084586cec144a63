"""What a block of edges tells of them."""

import numpy as np

from graphmill.clock import ALWAYS
from graphmill.graph.adjacency import assemble
from graphmill.graph.neighbours import all_before


def test_ages_beyond_64_bits_are_the_largest_there_is():
    largest = np.iinfo(np.int64).max
    time = np.array([ALWAYS, ALWAYS + 1, -largest, -2, -1, 0, 1, largest - 1])
    rows = np.arange(len(time), dtype=np.int32)
    adjacency = assemble(("person", "person"), rows, 0 * rows, rows, time, 1)
    for moment in (largest, largest - 1, 2, -largest + 5):
        block = all_before(adjacency, 0, 1, moment)
        exact = [0 if edge == ALWAYS else min(moment - int(edge), largest) for edge in time if edge < moment]
        assert block.age.tolist() == exact and len(exact) > 1
