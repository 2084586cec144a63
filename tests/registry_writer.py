"""A process that writes into a registry: HOME, then ``register FOLDER`` and ``move ALIAS VERSION WHY`` repeated."""

import sys

from graphmill import registry
from tests.registries import EVALUATION


def main(words: list[str]) -> None:
    home = registry.open(words.pop(0))
    last = ""
    while words:
        if words.pop(0) == "register":
            last = home.register(words.pop(0), EVALUATION)
        else:
            alias, version = words.pop(0), words.pop(0)
            home.move(alias, last if version == "-" else version, f"by {words.pop(0)}")


if __name__ == "__main__":
    main(sys.argv[1:])
