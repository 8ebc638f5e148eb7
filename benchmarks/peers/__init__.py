"""The package beside other executors, case by case: ``python -m benchmarks.peers`` in their own environment."""
