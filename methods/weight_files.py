"""Where a weight file from outside lies, and whether it is the promised one. Imports no torch.

The place of a file is never identity, its content is: the same bytes elsewhere give the same ids. Looked for in this
order, the first hit wins:

1. the environment variable ``DIRA_BENCH_WEIGHTS_<METHOD>``: the file itself;
2. the entry's ``options: {path: …}``;
3. ``weights:`` where that is a path, from the project's folder if it is relative;
4. for ``torchvision:`` names, the folder ``DIRA_BENCH_WEIGHTS``, then torch's hub cache.

Nothing is ever downloaded.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harness.errors import ConfigurationError, unknown
from harness.identity import file_sha256

PROJECT = Path(__file__).resolve().parents[1]
TORCHVISION = "torchvision:"
FOLDER_VARIABLE = "DIRA_BENCH_WEIGHTS"


@dataclass(frozen=True)
class PublishedWeights:
    """Weights that torchvision publishes under a name.

    Attributes:
        file: Name of the file; torchvision puts the first eight digits of its SHA-256 into it.
        sha256_starts: Those digits.
        network: The backbone here that they fit (``methods.networks.NETWORKS``).
        trained_on: What a sentence calls them.
    """

    file: str
    sha256_starts: str
    network: str
    trained_on: str


PUBLISHED = {
    "ResNet50_Weights.IMAGENET1K_V1": PublishedWeights(
        "resnet50-0676ba61.pth", "0676ba61", "unet_resnet50", "ImageNet"
    ),
    "ResNet50_Weights.IMAGENET1K_V2": PublishedWeights(
        "resnet50-11ad3fa6.pth", "11ad3fa6", "unet_resnet50", "ImageNet"
    ),
}


def published(weights: str) -> PublishedWeights | None:
    """Return what is known of a ``torchvision:`` name, or None for a path.

    Raises:
        UnknownName: For a torchvision name that fits no network here, with near names.
    """
    if not weights.startswith(TORCHVISION):
        return None
    name = weights.removeprefix(TORCHVISION)
    if name not in PUBLISHED:
        raise unknown("torchvision weights", name, PUBLISHED, "weights")
    return PUBLISHED[name]


def variable(method: str) -> str:
    """Return the environment variable that names a method's weight file."""
    return f"{FOLDER_VARIABLE}_{method.upper()}"


def locate(method: str, weights: str, path: str | None) -> Path | None:
    """Return the weight file of a method, or None if it is nowhere.

    Args:
        method: Name of the entry.
        weights: ``torchvision:<name>`` or a path.
        path: Where the entry's options say that the file lies, or None.
    """
    known = published(weights)
    places: list[Path] = []
    if given := os.environ.get(variable(method)):
        places.append(Path(given))
    if path:
        places.append(Path(path))
    if known is None:
        places.append(Path(weights))
    else:
        if folder := os.environ.get(FOLDER_VARIABLE):
            places.append(Path(folder) / known.file)
        places.append(hub_cache() / known.file)
    for place in places:
        found = place.expanduser()
        found = found if found.is_absolute() else PROJECT / found
        if found.is_file():
            return found
    return None


def hub_cache() -> Path:
    """Return the folder where torch keeps what it has downloaded, by torch's own rule."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or str(Path(cache) / "torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


def content_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, read once in a process while its size and date stay the same."""
    stat = path.stat()
    return _content_sha256(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _content_sha256(path: Path, size: int, changed: int) -> str:
    return file_sha256(path)


def how_to_supply(method: str, weights: str) -> str:
    """Say in one clause how a missing file is supplied."""
    known = published(weights)
    ways = f"set {variable(method)} to the file, or give options: {{path: …, sha256: …}} in its entry"
    if known is None:
        return f'no file "{Path(weights).name}"; put it where the entry says, {ways}'
    return f"no {known.file} in torch's hub cache; put it there or into the folder that {FOLDER_VARIABLE} names, {ways}"


def promised(weights: str, sha256: str | None, found: str, file: str) -> str | None:
    """Return a sentence if a file is not the promised one, else None.

    Args:
        weights: As in the entry.
        sha256: What the entry promises: all 64 digits, or None. torchvision's names promise the first eight.
        found: The file's SHA-256.
        file: Its name, for the sentence.
    """
    known = published(weights)
    starts = sha256 or (known.sha256_starts if known else "")
    if found.startswith(starts):
        return None
    return (
        f"{file} has SHA-256 {found[:12]}…; expected {starts[:12]}{'…' if len(starts) > 12 else ''} as "
        f"{'the entry' if sha256 else 'its name'} says; fetch it again or correct sha256"
    )


def checked_sha256(value: str | None) -> str | None:
    """Return a digest in lower case.

    Raises:
        ValueError: If it is not 64 hexadecimal digits.
    """
    if value is None:
        return None
    if len(value) != 64 or set(value.lower()) - set("0123456789abcdef"):
        raise ValueError(f'found "{value}"; expected the 64 hexadecimal digits that sha256sum prints')
    return value.lower()


def checked_weights(value: str) -> str:
    """Return the name or path of weights.

    Raises:
        ValueError: If it is a torchvision name that fits no network here.
    """
    try:
        published(value)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error
    return value
