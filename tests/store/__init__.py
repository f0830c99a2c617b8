"""The store: keys, publishing, locks, views, digests, pins, gc, verify."""
