"""The command ``scaler-notebook``: for a terminal, without Jupyter."""
