"""What configuration entries may hold, and what they mean."""
