"""What kind of value each structural statistic is."""

COUNTS = ("edges", "nodes", "rows", "components")
"""Values that count things."""
SHARES = (
    "adjusted_homophily",
    "assortativity",
    "clustering",
    "giant_share",
    "gini",
    "isolated_share",
    "linked_share",
    "loop_share",
    "mixing_shift",
    "modularity",
    "new_share",
    "orphan_share",
    "persistence",
    "reciprocity",
    "repeated_share",
    "shared_share",
    "top_share",
)
"""Values between 0 and 1, or -1 and 1: a change must also be more than a trifle."""
RISES = ("mixing_shift", "orphan_share")
"""Distances from the period before: only a rise matters."""
TESTED = (
    *COUNTS,
    *SHARES,
    "effective_communities",
    "largest_core",
    "mean_core",
    "mean_degree",
    "mean_sharers",
    "tail",
)
"""What is compared with the past. The others (``communities``, ``density``, ``growth``, ``homophily``) are told: they
follow from those, or move by themselves."""
