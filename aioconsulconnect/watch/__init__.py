"""From an index to an async iterator."""
