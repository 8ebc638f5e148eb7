"""The views of tasks: cards, boards, and their static forms."""
