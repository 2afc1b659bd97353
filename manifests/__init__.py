"""What a bundle says of itself: specification, schema, canonical bytes, signatures, trust metadata."""
