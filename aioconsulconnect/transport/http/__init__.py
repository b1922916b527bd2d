"""HTTP connections to the agents."""
