"""Delivering a built variant: to a folder, a tar file, or a repository on the hub."""
