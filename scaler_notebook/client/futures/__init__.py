"""Futures, groups of futures, and waits for several of them."""
