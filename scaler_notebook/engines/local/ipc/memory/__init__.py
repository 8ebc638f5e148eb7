"""Large buffers in shared memory."""
