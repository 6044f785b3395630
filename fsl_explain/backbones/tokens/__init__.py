"""Networks of tokens that are not ours: recognized by their parts, and read block by block."""
