"""What the scheduler of any engine needs; knows no engine."""
