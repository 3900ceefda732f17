"""How a profile starts from another: ``extends``, the one way in which a file of profiles says a thing once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import ConfigurationError, unknown


def merge(base: Mapping[str, object], change: Mapping[str, object]) -> dict[str, object]:
    """Return ``base``, overridden by ``change``: mappings key by key, everything else replaced."""
    merged = copy.deepcopy(dict(base))
    for key, value in change.items():
        before = merged.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            merged[key] = merge(before, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


@dataclass(frozen=True)
class ProfileFile:
    """The profiles of one file.

    Attributes:
        file: Its name, for sentences.
        profiles: Name → what stands there.
        lines: Name → the line on which it begins.
    """

    file: str
    profiles: Mapping[str, object]
    lines: Mapping[str, int]

    def where(self, name: str) -> str:
        """Return the place of a profile: file, line and name."""
        return f'{self.file}:{self.lines.get(name, 0)} (profile "{name}")'

    def whole(self, name: str) -> dict[str, object]:
        """Return a profile with everything that it extends, without the key ``extends``.

        Raises:
            UnknownName: If there is none of that name, with near names.
            ConfigurationError: If a profile is no mapping, or extends itself.
        """
        merged: dict[str, object] = {}
        for link in reversed(self._chain(name)):
            merged = merge(merged, self._body(link))
        merged.pop("extends", None)
        return merged

    def _chain(self, name: str) -> list[str]:
        """Return a profile and what it extends, step by step."""
        chain: list[str] = []
        current: object = name
        while current is not None:
            if not isinstance(current, str):
                raise ConfigurationError(
                    f"{self.where(chain[-1])}: extends: found {current!r}; expected the name of a profile."
                )
            if current not in self.profiles:
                raise unknown("profile", current, self.profiles, self.file)
            if current in chain:
                raise ConfigurationError(
                    f'profile "{name}" in {self.file} extends itself ({" → ".join([*chain, current])}); expected a '
                    "chain that ends; remove one extends"
                )
            chain.append(current)
            current = self._body(current).get("extends")
        return chain

    def _body(self, name: str) -> Mapping[str, object]:
        body = self.profiles[name]
        if not isinstance(body, Mapping):
            raise ConfigurationError(f"{self.where(name)}: found {body!r}; expected a mapping of keys.")
        return body
