"""What happens when, from a call to its result."""
