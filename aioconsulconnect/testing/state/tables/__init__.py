"""What an agent holds beside Connect: the nodes of its catalog, and keys."""
