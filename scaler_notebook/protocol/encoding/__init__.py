"""How what is said becomes bytes, for the other process, and JSON, for programs."""
