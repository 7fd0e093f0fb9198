"""Unanswered: why a server gave no answer, in words for people."""

from __future__ import annotations

import re


def unanswered(error: BaseException) -> str:
    """The first line of what was said, but where nobody answered: libraries tell that by the names
    of classes."""
    from requests.exceptions import ConnectionError as Unreached
    from requests.exceptions import Timeout

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, Timeout):
            return "no answer in time"
        if isinstance(seen, Unreached):
            reason = re.search(r"(?:Errno -?\d+\] |: )([A-Z][a-z ]+)[)'\"]*$", str(seen))
            return f"no answer ({reason[1].lower()})" if reason else "no answer"
        seen = seen.__cause__ or seen.__context__
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
