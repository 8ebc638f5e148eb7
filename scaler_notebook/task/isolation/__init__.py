"""Isolation of tasks that run one after the other in a process: settings are restored, leftovers are found."""
