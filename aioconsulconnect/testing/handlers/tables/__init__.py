"""The parts of the API beside Connect: the catalog's nodes, the agent's own node, and keys."""
