"""The checks of ``scaler-notebook doctor``: what is installed, and what works on this machine."""
