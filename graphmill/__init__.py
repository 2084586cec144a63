"""graphmill keeps a graph neural network in production."""

from graphmill.compiled import prepare

__version__ = "0.1.0"

prepare()  # before anything imports numba
