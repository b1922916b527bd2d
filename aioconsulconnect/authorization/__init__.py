"""Local decisions: who may connect to what, and with which requests."""
