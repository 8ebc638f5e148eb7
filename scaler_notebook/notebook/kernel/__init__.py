"""The kernel's event loop: how waits keep the kernel alive, and the parts of ipykernel that this needs."""
