"""Secrets come from the environment or from files and never leave the process.

``resolve`` replaces ``${env:NAME}`` and ``${file:PATH}`` and remembers the
values; ``redact`` masks them, and any password inside a URL, in every text that
is logged, shown or stored.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

_PLACEHOLDER = re.compile(r"\$\{(env|file):([^}]+)\}")
# SQLAlchemy and others take a raw ``/`` or ``@`` in a password, too
_URL_PASSWORD = re.compile(r"(?P<head>[a-z][a-z0-9+.-]*://[^/\s:@]*:)[^\s\"'<>,]+(?=@)")
_known: set[str] = set()
_told: set[str] = set()


def resolve(value: Any, folder: Path, mistakes: list[str], where: str = "") -> Any:
    """``value`` with every placeholder replaced; what cannot be is added to ``mistakes``."""
    if isinstance(value, dict):
        return {
            key: resolve(item, folder, mistakes, f"{where}.{key}".lstrip("."))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [
            resolve(item, folder, mistakes, f"{where}[{index}]") for index, item in enumerate(value)
        ]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        secret = _read(match[1], match[2], folder)
        if secret is None:
            mistakes.append(
                f"{where}: {match[0]}: "
                + (
                    "the environment variable is not set"
                    if match[1] == "env"
                    else "the file cannot be read"
                )
            )
            return ""
        _known.update(text for text in (secret, unquote(secret)) if len(text) >= 4)
        return secret

    return _PLACEHOLDER.sub(replace, value)


def known(values: list[str]) -> list[str]:
    """The same values, masked by ``redact`` from here on."""
    _known.update(text for value in values for text in (value, unquote(value)) if len(text) >= 4)
    return values


def fetch(env: str, file: str) -> str | None:
    """The secret in an environment variable, or else in a file; masked by ``redact`` from here on.

    None where it is not there.
    """
    text = _read("env", env, Path()) if env else _read("file", file, Path())
    return known([text.strip()])[0] if text is not None else None


def told(names: Iterable[str]) -> None:
    """From here on these names stay as they are, whatever in them is a secret elsewhere.

    Pages, links and forms go by a model's name, and a database's name from the environment may be
    the same word.
    """
    _told.update(names)


def masks() -> int:
    """How many texts are masked; what was redacted while there were fewer may hold one."""
    return len(_known)


def redacted(value: Any) -> Any:
    """``value`` with every text in it redacted: before it is written as JSON, which escapes.

    Keys are names that programs look for, and stay.
    """
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted(item) for item in value]
    return value


def clean(text: str) -> bool:
    """Whether ``redacted`` would leave all that this JSON text tells as it is: quicker to know."""
    return "://" not in text and not any(
        json.dumps(secret)[1:-1] in text for secret in tuple(_known))


def redact(text: str) -> str:
    """``text`` with every known secret and every password in a URL replaced by ``***``."""
    secrets = tuple(_known)  # other threads may add to it meanwhile
    if any(secret in text for secret in secrets):
        for secret in sorted(secrets, key=len, reverse=True):
            text = _masked(text, secret)
    return _URL_PASSWORD.sub(r"\g<head>***", text) if "://" in text else text


def _masked(text: str, secret: str) -> str:
    names = sorted((name for name in tuple(_told) if secret in name), key=len, reverse=True)
    if not names:
        return text.replace(secret, "***")
    either = "|".join(re.escape(item) for item in (*names, secret))
    return re.sub(either, lambda found: found[0] if found[0] in names else "***", text)


def _read(kind: str, name: str, folder: Path) -> str | None:
    if kind == "env":
        return os.environ.get(name)
    try:
        return (folder / name).read_text(encoding="utf-8").strip()
    except OSError:
        return None
