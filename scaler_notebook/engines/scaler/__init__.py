"""OpenGRIS Scaler clusters, spoken to in their own protocol: tasks run on their workers, as they are."""
