"""What operators compute of transposed inputs, said of the inputs before: rules for `cancel_transposes`."""
