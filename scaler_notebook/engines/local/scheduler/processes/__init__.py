"""The task processes of a scheduler: how they are started, fed, measured, killed and reaped."""
