"""Engines, one a file, and the shards in which finished parts are kept."""
