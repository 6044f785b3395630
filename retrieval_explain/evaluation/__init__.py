"""How well a bank retrieves and how far the maps of its decisions can be trusted: measured, and in tables."""
