"""The state of one task as its client knows it: transitions, outcome, output, callbacks."""
