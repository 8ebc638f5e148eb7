"""Data that a cluster's client and the tasks on its workers exchange: addresses, headers, in-band events."""
