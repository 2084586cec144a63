"""The online predictor: KServe's protocols over a live graph. ``python -m graphmill.serving --help``."""
