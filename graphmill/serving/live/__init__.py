"""The live graph: an immutable snapshot, memory-mapped, and what happened since beside it."""
