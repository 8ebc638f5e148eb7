"""What the client of a Scaler cluster and the tasks on its workers share: addresses, headers, in-band events."""
