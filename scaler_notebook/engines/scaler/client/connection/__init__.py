"""The connection to a cluster: nothing else in the kernel knows the package ``opengris-scaler``."""
