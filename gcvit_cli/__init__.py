"""The `gcvit` command."""
