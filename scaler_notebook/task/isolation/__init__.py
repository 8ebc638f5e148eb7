"""What a task does stays in it: what it changed in its process is noticed, and put back."""
