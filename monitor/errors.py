"""The exception tree, drawn once.

One root; a subclass exists only where someone catches it. A message says what
happened, where, and what would be right. Messages never carry row values.
"""

from __future__ import annotations


class HoldfastError(Exception):
    """Anything holdfast reports in words instead of a traceback."""


class ConfigError(HoldfastError):
    """The configuration is refused; ``mistakes`` lists every one of them."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class SourceError(HoldfastError):
    """The prediction log cannot be read, or took longer than its deadline."""


class RegistryError(HoldfastError):
    """The MLflow registry cannot be reached or refuses an answer."""


class ContractError(HoldfastError):
    """A candidate does not keep the champion's serving contract."""


class RefusedError(HoldfastError):
    """What somebody asked for cannot be done as things stand."""


class LostError(HoldfastError):
    """This daemon led and does no more; its process is to end."""


class ConflictError(HoldfastError):
    """Another writer advanced this row first; read again and decide anew."""
