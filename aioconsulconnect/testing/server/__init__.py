"""The HTTP server of an agent: connections, routes, and where faults meet requests."""
