"""The ways by which a scheduler is reached by clients."""
