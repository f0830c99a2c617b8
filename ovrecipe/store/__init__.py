"""The store: artifacts by the digest of what they were made from."""
