"""graphmill keeps a graph neural network in production."""

__version__ = "0.1.0"
