"""The context of tasks: the notebook's directory, environment, modules and settings, which its tasks get."""
