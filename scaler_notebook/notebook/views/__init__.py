"""What a person sees of tasks: cards, boards, and their static forms."""
