"""The state of one agent."""
