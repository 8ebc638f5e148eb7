"""The client's side of a Scaler cluster."""
