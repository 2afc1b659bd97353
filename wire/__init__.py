"""What crosses the network between device and server: topics, messages, sketches, chunks."""
