"""Measuring: gates that an artifact must pass, and figures about it."""
