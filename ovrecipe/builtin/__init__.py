"""The parts of the route that are only reached through hooks: the default providers."""
