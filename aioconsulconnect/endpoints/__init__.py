"""One class per URL segment; a method builds a request and nothing else."""
