"""Running: from an instruction to shown text."""
