"""Endpoint groups: one class per URL segment, whose methods build requests and nothing else."""
