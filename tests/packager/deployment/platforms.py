"""Whether Kubernetes' own schemas, and Azure's own library, take files: run in an environment that has both.

    python platforms.py FOLDER

Prints the names of those that were taken, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import kubernetes_validate
import yaml
from azure.ai.ml import load_online_deployment, load_online_endpoint

folder = Path(sys.argv[1])
taken = []
for path in sorted((folder / "kubernetes").iterdir()):
    document = yaml.safe_load(path.read_text())
    for version in ("1.29", kubernetes_validate.latest_version()):
        kubernetes_validate.validate(document, version, strict=True)
    taken.append(document["kind"])
endpoint = load_online_endpoint(folder / "azureml" / "endpoint.yaml")
deployment = load_online_deployment(folder / "azureml" / "deployment.yaml")
assert deployment.endpoint_name == endpoint.name
route = deployment.environment.inference_config["scoringRoute"]["path"]
taken += [type(endpoint).__name__, type(deployment).__name__, route]
sys.stdout.write(json.dumps(taken))
