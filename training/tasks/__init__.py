"""Tasks that the engine trains."""
