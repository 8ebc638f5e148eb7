"""What things cost: of the package alone, and beside other executors. README.md says what each file measures."""
