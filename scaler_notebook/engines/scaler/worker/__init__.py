"""The code that runs on a worker of a Scaler cluster around a task of this package."""
