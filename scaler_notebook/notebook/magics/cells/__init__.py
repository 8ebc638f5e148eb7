"""Cells that run as one task: which names they read and assign, and how they are compiled."""
