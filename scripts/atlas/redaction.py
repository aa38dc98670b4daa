"""Texts without what lets somebody in: the token of a hub, passwords in addresses, signed addresses."""

import base64
import contextlib
import logging
import os
import re
import sys
import traceback
from typing import Any
from urllib.parse import unquote, urlsplit

TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
ADDRESSES = ("HF_ENDPOINT", "PIP_INDEX_URL", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY",
             "https_proxy", "http_proxy", "all_proxy")  # fmt: skip
SHORTEST = 6  # a shorter secret is told from other words by where it stands only
GONE = "…"
PATTERNS = (
    (re.compile(r"\bhf_[A-Za-z0-9]{16,}"), GONE),
    (re.compile(r"(?i)\b(bearer)\s+[^\s'\",;]+"), rf"\1 {GONE}"),
    (re.compile(r"(?i)\b(authorization['\"]?\s*[:=]\s*['\"]?)(\w+ )?[^\s'\",;]+"), rf"\1\2{GONE}"),
    (re.compile(r"(\w+://)[^\s/'\"@]+@"), r"\1"),
    (re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]*"), r"\1"),
)


def without_secrets(text: str) -> str:
    """A text without tokens, passwords and what signed addresses carry, as far as they are known here."""
    for secret in sorted(_known(), key=len, reverse=True):
        text = text.replace(secret, GONE)
    for pattern, rest in PATTERNS:
        text = pattern.sub(rest, text)
    return text


def _known() -> set[str]:
    """Secrets of this process: of the environment, and the token that the hub's client would send."""
    found = {os.environ.get(name, "") for name in TOKENS}
    # Without its client, no token was read, and importing it takes a while.
    if client := sys.modules.get("huggingface_hub"):
        with contextlib.suppress(Exception):
            found.add(client.get_token() or "")
    for name in ADDRESSES:
        user, _, _ = urlsplit(os.environ.get(name, "")).netloc.rpartition("@")
        plain = unquote(user)
        found |= {user, plain, plain.partition(":")[2], user.partition(":")[2],
                  base64.b64encode(plain.encode()).decode()}  # fmt: skip
    return {secret for secret in found if len(secret) >= SHORTEST}


def traceback_without_secrets() -> str:
    """The traceback of the error that is being handled."""
    return without_secrets(traceback.format_exc())


def clean_logs() -> None:
    """From now on, what libraries log in this process holds no secret."""
    made = logging.getLogRecordFactory()

    def record(*what: Any, **more: Any) -> logging.LogRecord:
        found = made(*what, **more)
        found.msg, found.args = without_secrets(found.getMessage()), ()
        if found.exc_info and found.exc_info[0]:
            found.exc_text = without_secrets("".join(traceback.format_exception(*found.exc_info)))
        return found

    logging.setLogRecordFactory(record)
