"""OCI registries: what is pulled from them, and what is pushed to them."""
