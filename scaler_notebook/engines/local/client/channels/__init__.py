"""The ways by which a client reaches a scheduler."""
