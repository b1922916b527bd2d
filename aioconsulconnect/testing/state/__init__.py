"""What one agent holds."""
