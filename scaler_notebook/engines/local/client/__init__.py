"""The client's side of a local engine: starting a scheduler, connecting to one, finding one."""
