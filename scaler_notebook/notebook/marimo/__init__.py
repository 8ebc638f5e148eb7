"""Notebooks of marimo: how a cell waits there, and what its views are made of."""
