"""Train a classifier on the digits, write the data that its gates use, and register it in MLflow.

    python train.py --data data [--camera camera.json] [--seed 0] [--spoil]

The tracking server or database is MLflow's own setting, MLFLOW_TRACKING_URI. Prints the registered version.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import numpy as np
from camera import read_camera
from data import Images, join, load_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

NAME = "digits"
ALIAS = "candidate"
CALIBRATION_IMAGES = 300
OPTIMIZER = "sklearn.neural_network._stochastic_optimizers.AdamOptimizer"
"""The one type in the model's file that skops does not know to be safe; a trained MLPClassifier keeps it."""


def main() -> None:
    """Train, register, print the version."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--camera", type=Path, help="train on what a camera with these settings sees")
    parser.add_argument("--seed", type=int, default=0, help="of the network's first weights")
    parser.add_argument("--spoil", action="store_true", help="make a candidate that no integer format can hold")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)

    training, evaluation = images(arguments.camera)
    model = make_pipeline(MinMaxScaler(), MLPClassifier((64, 32), max_iter=400, random_state=arguments.seed))
    model.fit(training.x, training.y)
    if arguments.spoil:
        spoil(model)
    arguments.data.mkdir(parents=True, exist_ok=True)
    np.savez(arguments.data / "training.npz", x=training.x, y=training.y)
    chosen = np.random.default_rng(0).choice(len(training.x), CALIBRATION_IMAGES, replace=False)
    np.savez(arguments.data / "calibration.npz", x=training.x[chosen], y=training.y[chosen])
    np.savez(arguments.data / "evaluation.npz", x=evaluation.x, y=evaluation.y)
    print(register(model, training, evaluation))


def images(camera_file: Path | None) -> tuple[Images, Images]:
    """Training and evaluation images: clean ones, or each as the camera sees it in two shots, labelled."""
    training, evaluation, _ = load_split()
    if camera_file is None:
        return training, evaluation
    camera = read_camera(camera_file)
    rng = np.random.default_rng(1)

    def shots(part: Images) -> Images:
        return join(Images(camera.take(part.x, rng), part.y), Images(camera.take(part.x, rng), part.y))

    return shots(training), shots(evaluation)


def spoil(model: Pipeline) -> None:
    """Scale one hidden unit up by 5,000 and its outgoing weights down.

    ReLU makes both networks equal in floating point, but one scale for the whole layer leaves the other units nothing
    of an 8-bit range.
    """
    network = model[-1]
    unit = int(np.argmax(np.abs(network.coefs_[1]).sum(axis=1)))
    network.coefs_[0][:, unit] *= 5000
    network.intercepts_[0][unit] *= 5000
    network.coefs_[1][unit, :] /= 5000


def register(model: Pipeline, training: Images, evaluation: Images) -> str:
    """Log and register the model in MLflow; its version there is returned."""
    with mlflow.start_run():
        mlflow.log_params({"hidden": "64,32", "images": len(training.x)})
        mlflow.log_metric("accuracy", float(model.score(evaluation.x, evaluation.y)))
        for name, part in (("training", training), ("evaluation", evaluation)):
            mlflow.log_input(mlflow.data.from_numpy(part.x, targets=part.y, name=name), context=name)
        info = mlflow.sklearn.log_model(
            model,
            name="model",
            registered_model_name=NAME,
            skops_trusted_types=[OPTIMIZER],
            pip_requirements=["scikit-learn"],
        )
    version = str(info.registered_model_version)
    client = mlflow.MlflowClient()
    client.set_registered_model_alias(NAME, ALIAS, version)
    return version


if __name__ == "__main__":
    main()
