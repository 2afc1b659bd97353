"""The main job from nothing: train, pack, publish, run on three devices, drift, retrain, refuse what is bad.

    python demo.py [--keep] [--folder demo-run]

Everything that is claimed is measured, and a claim that does not hold ends the demo with exit code 1. The three
devices are processes on this machine; the broker, the signatures, the runtimes and the data are real.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from pathlib import Path

from chapters import CHAPTERS
from stage import Stage
from transcript import ClaimError, Transcript


def main() -> int:
    """Run the demo; its exit code is returned."""
    parser = argparse.ArgumentParser(description="The main job of packtrain, from nothing, with every claim measured.")
    parser.add_argument("--keep", action="store_true", help="leave server, agents and applications running at the end")
    parser.add_argument("--folder", type=Path, default=Path("demo-run"), help="made anew; holds everything")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = arguments.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    transcript = Transcript(
        {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PACK_CACHE": str(folder / "cache"),
            "PACK_SIGNING_KEY": str(folder / "keys" / "pack.key"),
            "COLUMNS": "100",
        }
    )
    stage = Stage(folder, transcript)
    try:
        for chapter in CHAPTERS:
            chapter(stage)
        if arguments.keep:
            transcript.tell("left running; Ctrl-C ends it")
            signal.pause()
    except ClaimError as error:
        print(f"\n  NOT SO: {error}\n", flush=True)
        stage.show_logs()
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        stage.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
