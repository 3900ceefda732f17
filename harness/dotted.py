"""Code named by a dotted path, ``package.module:name``: the one place that imports what a file or an option names."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from harness.errors import BrokenCode, ConfigurationError, Unavailable
from harness.foreign import describe_error, guest


def import_dotted(path: str) -> Any:
    """Import ``module:name`` as a guest: whatever the module does, the command that met it goes on.

    Raises:
        ConfigurationError: If the path is malformed.
        BrokenCode: If the module cannot be imported, whatever it raises, or the name is absent.
    """
    module, name = parts(path)
    known = _known(module, name)
    if known is not None:
        return known
    try:
        with guest():
            loaded = importlib.import_module(module)
            return _named(loaded, name)
    except ImportError as error:
        raise BrokenCode(f'"{path}" cannot be imported: {error}; install its package or correct it.') from error
    except AttributeError as error:
        if module not in sys.modules:  # raised while the module was imported
            raise BrokenCode(_cannot(path, error)) from error
        raise BrokenCode(f'module "{module}" has no "{name}"; correct the dotted path "{path}".') from None
    except Exception as error:  # a module may raise anything when it is imported
        raise BrokenCode(_cannot(path, error)) from error


def _known(module: str, name: str) -> Any:
    """Return what a module that is imported already holds by that name; None if to ask might run code of its own."""
    loaded = sys.modules.get(module)
    if not isinstance(loaded, ModuleType) or getattr(loaded.__spec__, "_initializing", False):
        return None
    return vars(loaded).get(name)


def import_work(path: str) -> Any:
    """Import ``module:name`` in a process of its own; what the module raises passes through, for the record to tell.

    Raises:
        ConfigurationError: If the path is malformed, or the module or the name is not there.
    """
    module, name = parts(path)
    try:
        return _named(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(error.name + ".")):
            raise ConfigurationError(
                f'no module "{error.name}" for run path "{path}": check the spelling, and that its folder is importable'
            ) from error
        raise
    except AttributeError as error:
        if module not in sys.modules:
            raise
        raise ConfigurationError(f'module "{module}" holds no function "{name}" for run path "{path}"') from error


def import_module(name: str, lacking: str = "") -> ModuleType:
    """Import a module by its name, such as a library that not everybody has installed.

    Args:
        name: The module.
        lacking: What to say if it is not installed; empty to let the error through.

    Raises:
        Unavailable: If it is not installed and ``lacking`` is given.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        if not lacking:
            raise
        raise Unavailable(lacking) from None


def declared_beside(path: str, name: str) -> Any:
    """Return what else the module of a dotted path declares under ``name``; None if it does not."""
    return getattr(importlib.import_module(parts(path)[0]), name, None)


def parts(path: str) -> tuple[str, str]:
    """Return module and name of a dotted path.

    Raises:
        ConfigurationError: If it is none.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise ConfigurationError(f'"{path}" is not a dotted path; expected "package.module:name".')
    return module, name


def _named(module: ModuleType, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _cannot(path: str, error: Exception) -> str:
    return f'"{path}" cannot be imported: {describe_error(error)}; correct that module.'
