"""Public data sets with published figures, each one params file."""
