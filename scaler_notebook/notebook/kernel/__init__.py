"""The kernel's event loop: how waits keep it alive, and what of ipykernel that needs."""
