"""Clients of a bundle in the languages of applications: typed, with the bundle's pipeline around the model."""
