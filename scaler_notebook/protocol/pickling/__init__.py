"""Pickling of objects that the standard pickler cannot take apart, and unpickling where a task runs."""
