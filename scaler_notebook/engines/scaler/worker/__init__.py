"""What runs on a worker of a Scaler cluster, around a task of ours."""
