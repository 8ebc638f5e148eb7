"""How values are pickled: what the standard pickler cannot take apart, and what arrives."""
