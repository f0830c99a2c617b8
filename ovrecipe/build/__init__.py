"""Building: stages, the graph of tasks, and the processes that do the heavy work."""
