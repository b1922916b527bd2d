"""What takes several calls."""
