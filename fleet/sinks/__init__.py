"""Receivers of retraining requests, one file a kind: each has `deliver`, found by the kind's name."""
