"""Task processes of this machine, looked at from outside while they run."""
