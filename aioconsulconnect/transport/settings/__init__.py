"""Settings of the connection to the agents: arguments, environment, defaults."""
