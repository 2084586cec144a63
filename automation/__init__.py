"""What GitHub Actions do, as commands that do the same on a laptop; docs/github.md."""
