"""An Arm computer without one: Debian's Python for arm64 and LiteRT's own wheel for it, run by qemu's user emulation.

Nothing is installed on this machine: packages are unpacked below a cache folder, and root is not needed. The folder is
named by PACK_HW_CACHE, else it is `packtrain-hw` in the user's cache folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

QEMU = "qemu-aarch64-static"
_ROOM = Path(__file__).parents[2]
_MIRROR = "http://deb.debian.org/debian"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_RELEASE = "bookworm"
_DEBIAN = (
    "libbz2-1.0", "libc6", "libcrypt1", "libexpat1", "libffi8", "libgcc-s1", "liblzma5", "libpython3.11-minimal",
    "libpython3.11-stdlib", "libssl3", "libstdc++6", "libuuid1", "python3.11-minimal", "zlib1g",
)  # fmt: skip
_WHEELS = ("ai-edge-litert", "flatbuffers", "msgspec", "numpy", "rfc8785")
_PROCESSOR = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
"""A Cortex-A72. LiteRT's look at the processors of the real machine, which is no Arm, ends in a segmentation fault."""


class Absent(Exception):  # noqa: N818 - no error: the tests skip with its words
    """What is needed is not here."""


class Emulated(NamedTuple):
    """A root folder of the other architecture, and the Python packages beside it."""

    root: Path
    packages: Path

    def command(self, *words: str | Path) -> list[str | Path]:
        """The words as arguments of its Python, as this machine runs them."""
        return [QEMU, "-cpu", "cortex-a72", "-L", self.root, self.root / "usr/bin/python3.11", "-B", *words]

    def environment(self) -> dict[str, str]:
        """Where its Python finds itself and the code."""
        return os.environ | {"PYTHONHOME": str(self.root / "usr"), "PYTHONPATH": f"{self.packages}:{_ROOM}"}


def machine() -> Emulated:
    """The emulated computer, unpacked on first use.

    Raises:
        Absent: the emulator is not installed, or the packages can't be fetched.
    """
    for program in (QEMU, "apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise Absent(f"{program} is not installed: apt-get install qemu-user-static")
    folder = _cache() / f"aarch64-{_RELEASE}"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            _unpack(partial / "root", partial / "apt")
            _install(partial / "packages")
        except subprocess.CalledProcessError as error:
            raise Absent(f"the packages for arm64 can't be fetched: {error.stderr.strip()[-300:]}") from error
        shutil.rmtree(partial / "apt")
        partial.rename(folder)
    return Emulated(folder / "root", folder / "packages")


def _cache() -> Path:
    named = os.environ.get("PACK_HW_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "packtrain-hw"


def _unpack(root: Path, work: Path) -> None:
    """Debian's packages below `root`, by an apt of their own that leaves this machine's alone."""
    for name in ("state/lists/partial", "cache/archives/partial", "packages"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    (work / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {_MIRROR} {_RELEASE} main\n")
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Dir::Cache": work / "cache",
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": work / "state",
        "Dir::State::status": work / "status",
    }
    apt = ["apt-get", "-qq", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    subprocess.run([*apt, "update"], check=True, capture_output=True, text=True)
    subprocess.run([*apt, "download", *_DEBIAN], cwd=work / "packages", check=True, capture_output=True, text=True)
    root.mkdir()
    for package in sorted((work / "packages").glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", package, root], check=True, capture_output=True, text=True)
    processors = root / "sys/devices/system/cpu"
    processors.mkdir(parents=True)
    for name in ("possible", "present"):
        (processors / name).write_text("0\n")
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/cpuinfo").write_text(_PROCESSOR)


def _install(packages: Path) -> None:
    """The wheels for arm64 of the releases that are installed here."""
    from importlib.metadata import version

    uv = shutil.which("uv") or str(_ROOM / ".ci" / "uv")
    wanted = [f"{name}=={version(name)}" for name in _WHEELS]
    platform = ["--python-version", "3.11", "--python-platform", "aarch64-manylinux_2_31", "--only-binary", ":all:"]
    command = [uv, "pip", "install", "--quiet", *platform, "--no-deps", "--target", packages, *wanted]
    subprocess.run(command, check=True, capture_output=True, text=True)
