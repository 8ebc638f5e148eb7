"""Cells that run as one task: what they read and assign, how they travel, what comes back."""
