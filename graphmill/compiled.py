"""Where compiled kernels are kept: a folder for each state of the source, chosen before numba is imported.

Numba takes a kernel from its cache as long as the file that it is written in is the same. What it calls in other files
is compiled into it: when that changes, the cached kernel goes on computing what it did before. So the folder of the
cache is named by a digest of all source that kernels may be made of; docs/decisions/0015-kernel-cache.md.
"""

import contextlib
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from graphmill.errors import UserError

FOLDER = "NUMBA_CACHE_DIR"
"""Numba's own variable. Where the user sets it, the folders of the digests stand in there."""
SHIPPED = "GRAPHMILL_KERNELS"
"""Names the folder with the kernels that an image brings along, compiled for any machine of its kind."""
KEPT = 16
"""States of the source whose kernels are kept, the newest ones used."""
PORTABLE = {"x86_64": "x86-64-v3", "aarch64": "generic"}
"""The processor that shipped kernels are compiled for, in LLVM's words."""
NEEDED = {"x86_64": {"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}, "aarch64": set[str]()}
"""What Linux must tell of a processor that is to run them."""

_OURS = re.compile(r"kernels-[0-9a-f]{16}")
_MENTION = rb"(graphmill[\w.]*(?: import (?:\([^)]*\)|[^\n]*))?)"
_ANYWHERE = re.compile(_MENTION)
_WHEN_LOADED = re.compile(rb"^(?:from|import) " + _MENTION, re.MULTILINE)


def prepare(package: Path = Path(__file__).parent) -> Path:
    """Tell numba where the kernels of this source are kept, with what an image brings along in it.

    Args:
        package: the folder of the package.

    Returns:
        The folder, named by the digest.

    Raises:
        UserError: when no folder can be written to.
    """
    home = _home()
    folder = home / f"kernels-{digest(package)}"
    if not folder.is_dir():
        _begin(folder)
        _prune(home, folder)
    with contextlib.suppress(OSError):
        os.utime(folder)
    os.environ[FOLDER] = str(folder)
    if SHIPPED in os.environ:
        _compile_as_shipped()
    if "numba" in sys.modules:  # somebody was earlier, and numba has read the variable already
        sys.modules["numba"].config.reload_config()
    return folder


def digest(package: Path) -> str:
    """16 hexadecimal digits over every source file that a kernel may be made of: see `sources`."""
    found = hashlib.sha256()
    for name, content in sorted(sources(package).items()):
        found.update(f"{name}\0{len(content)}\0".encode())
        found.update(content)
    return found.hexdigest()[:16]


def sources(package: Path) -> dict[str, bytes]:
    """The modules that import numba, what they import of the package, and so on: names and contents.

    A kernel can hold nothing else: constants and kernels of its own module, or such as that imports; of others, what
    they import when they are loaded, not what a function of theirs does. An edit elsewhere compiles nothing anew.
    """
    root = str(package.parent)
    texts = {_module(root, str(file)): file.read_bytes() for file in package.rglob("*.py")}
    found: dict[str, bytes] = {}
    waiting = [name for name, text in texts.items() if b" numba" in text]
    while waiting:
        name = waiting.pop()
        if name in texts and name not in found:
            found[name] = texts[name]
            waiting += _imported(texts[name], _ANYWHERE if b" numba" in texts[name] else _WHEN_LOADED)
    return found


def portable(machine: str, flags: set[str]) -> str | None:
    """The processor to compile for, that every machine of this kind has; None where this one lacks something of it."""
    return PORTABLE[machine] if machine in PORTABLE and NEEDED[machine] <= flags else None


def _compile_as_shipped() -> None:
    """Ask numba for the code that an image brings along, or is to bring along, where this machine can run it."""
    chosen = portable(os.uname().machine, _flags())
    if chosen is not None and "NUMBA_CPU_NAME" not in os.environ:
        os.environ.update(NUMBA_CPU_NAME=chosen, NUMBA_CPU_FEATURES="")


def _flags() -> set[str]:
    """What Linux tells of the first processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _module(root: str, file: str) -> str:
    """A file's name as a module, without the slowness of ``pathlib``: this runs at every start."""
    return file[len(root) + 1 : -len(".py")].replace(os.sep, ".").removesuffix(".__init__")


def _imported(text: bytes, mentions: re.Pattern[bytes]) -> Iterator[str]:
    """What may be a module among what a source file imports."""
    for mention in mentions.findall(text):
        base, _, names = mention.decode().partition(" import ")
        yield base
        yield from (f"{base}.{name}" for name in re.findall(r"\w+", names))


def _home() -> Path:
    """The folder above: the user's own, else the user's cache, else a private one for temporary files."""
    named = os.environ.get(FOLDER)
    if named:
        home = Path(named)
        # a parent's choice is inherited, and a child may run other source
        home = home.parent if _OURS.fullmatch(home.name) else home
    else:
        home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "graphmill"
    return home if home.is_absolute() and _writable(home) else _private()


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _private() -> Path:
    """Kernels are machine code: a folder that others can write to is not read."""
    try:
        home = Path(tempfile.gettempdir()) / f"graphmill-{os.getuid()}"
        home.mkdir(mode=0o700, exist_ok=True)
        found = home.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
            return home
        return Path(tempfile.mkdtemp(prefix="graphmill-"))
    except OSError as error:
        told = f"no folder for compiled kernels can be written to: {error}"
        raise UserError(f"{told}; set {FOLDER} to one, or mount a writable /tmp") from None


def _begin(folder: Path) -> None:
    """Make the folder, with links to what the image brings along; whole from the first moment on."""
    draft = Path(tempfile.mkdtemp(prefix=".kernels-", dir=folder.parent))
    draft.chmod(0o755)  # an image is built by root and run by somebody else
    if SHIPPED in os.environ:
        with contextlib.suppress(OSError):  # what is not there, or cannot be read, is compiled
            _link(Path(os.environ[SHIPPED]) / folder.name, draft)
    try:
        draft.rename(folder)
    except OSError:  # another process was first
        shutil.rmtree(draft, ignore_errors=True)


def _link(shipped: Path, draft: Path) -> None:
    for part in sorted(shipped.iterdir()):
        (draft / part.name).mkdir()
        for file in part.iterdir():
            (draft / part.name / file.name).symlink_to(file)


def _prune(home: Path, folder: Path) -> None:
    """Forget what was used longest ago. Numba makes the folder of a running process again when it needs it."""
    with contextlib.suppress(OSError):  # another process forgets them at the same time
        found = [item for item in home.iterdir() if _OURS.fullmatch(item.name) and item != folder]
        for old in sorted(found, key=lambda item: item.stat().st_mtime, reverse=True)[KEPT - 1 :]:
            shutil.rmtree(old, ignore_errors=True)
