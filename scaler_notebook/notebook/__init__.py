"""The notebook's side: the kernel's event loop, the views and the magics. Jupyter is imported freely here alone."""
