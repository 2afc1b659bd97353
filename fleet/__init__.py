"""`pack-fleet`: publish, roll out, ingest, detect drift, request retraining, show."""
