"""One file a node: parameters, topics, timers, nothing else."""
