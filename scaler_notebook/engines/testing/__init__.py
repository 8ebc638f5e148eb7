"""Engines without processes, for tests: one on threads of this process, one that follows a script."""
