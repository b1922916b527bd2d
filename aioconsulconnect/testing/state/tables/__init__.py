"""The state of one agent beside Connect: the nodes of its catalog, and keys."""
