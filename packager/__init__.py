"""`pack`: model in, gated and signed bundles out."""
