"""Scheduling without an engine: dependencies, retries, timers."""
