"""What workers do: one job a file, with its `Order` and its `run`."""
