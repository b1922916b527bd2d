"""The registration of services and checks: what a definition may hold."""
