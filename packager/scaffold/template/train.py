"""Train a classifier, write the data that its gates use, and register it in MLflow as the candidate.

python train.py
"""

from __future__ import annotations

import os
from pathlib import Path

import mlflow
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

NAME = "my-model"
DATA = Path("data")

# Your data goes here: features as float32, one row a sample.
x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x.astype(np.float32), y, test_size=0.25, random_state=0, stratify=y)

# Your model goes here.
model = make_pipeline(MinMaxScaler(), LogisticRegression(max_iter=1000))
model.fit(x_train, y_train)
accuracy = float(model.score(x_test, y_test))

DATA.mkdir(exist_ok=True)
np.savez(DATA / "calibration.npz", x=x_train[:300], y=y_train[:300])
np.savez(DATA / "evaluation.npz", x=x_test, y=y_test)

mlflow.set_tracking_uri(os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"))
with mlflow.start_run():
    mlflow.log_params({"model": "logistic regression", "samples": len(x_train)})
    mlflow.log_metric("accuracy", accuracy)
    mlflow.log_input(mlflow.data.from_numpy(x_train, targets=y_train, name="training"), context="training")
    info = mlflow.sklearn.log_model(
        model, name="model", registered_model_name=NAME, pip_requirements="requirements.txt"
    )
version = str(info.registered_model_version)
mlflow.MlflowClient().set_registered_model_alias(NAME, "candidate", version)
print(f"registered {NAME} {version} as the candidate, accuracy {accuracy:.1%}")
