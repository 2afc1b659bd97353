"""Runs in a toolchain's environment: makes models, imports them one after the other, and says what became of each.

Starting a framework takes seconds, so one process does all. The first argument is a JSON document: ``make`` (the module
that writes the models, and its arguments) and ``models`` (name to what `packager.jobs.importation.Order` takes).
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from pathlib import Path

import msgspec
import onnx

from packager.declarations import Declared
from packager.errors import PackError
from packager.importers.detection import detect_framework
from packager.jobs import importation
from packager.samples import DataFiles
from packager.signatures import model_signature


def outcome(asked: dict[str, object]) -> dict[str, object]:
    try:
        framework, path = detect_framework(Path(str(asked["path"])))
        order = importation.Order(
            framework=framework,
            path=str(path),
            trusted=bool(asked.get("trusted")),
            signature=str(asked.get("signature", "")),
            task=importation.TaskSection(),
            data=msgspec.convert(asked.get("data", {}), DataFiles),
            declared=msgspec.convert(asked.get("declared", {}), Declared),
        )
        with tempfile.TemporaryDirectory() as folder:
            found = importation.run(order, Path(folder))
            written = (Path(folder) / importation.MODEL).read_bytes()
    except PackError as error:
        return {"code": error.code, "message": str(error), "hint": error.hint}
    signature = model_signature(onnx.load_model_from_string(written))
    return {
        "framework": framework,
        "worst": found.worst_difference,
        "inputs": {entry.name: [entry.dtype, *entry.shape] for entry in signature.inputs},
        "outputs": {entry.name: [entry.dtype, *entry.shape] for entry in signature.outputs},
        "leaks": [place for place in (str(path.parent), sys.prefix, str(Path.home())) if place.encode() in written],
    }


def main() -> None:
    asked = json.loads(sys.argv[1])
    module, *arguments = asked["make"]
    importlib.import_module(module).write_models(*map(Path, arguments))
    found = {name: outcome(entry) for name, entry in asked["models"].items()}
    Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
