"""The members, the rules and the meaning of configuration entries."""
