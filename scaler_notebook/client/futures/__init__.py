"""What a submit returns, groups of those, and waiting for several."""
