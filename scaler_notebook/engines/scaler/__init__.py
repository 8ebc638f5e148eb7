"""The engine for clusters of OpenGRIS Scaler."""
