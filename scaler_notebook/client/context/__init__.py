"""What the notebook has that its tasks should have: directory, environment, modules, settings."""
