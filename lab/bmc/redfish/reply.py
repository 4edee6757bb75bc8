"""An answer of a Redfish service, whatever is in it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from lab.bmc.redfish.json import Json, as_dict, as_list


@dataclass(frozen=True)
class Reply:
    """An answer of the BMC; `body` is empty where it was no JSON object."""

    status: int
    body: Json = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""

    @property
    def good(self) -> bool:
        """Whether the BMC did what it was asked."""
        return 200 <= self.status < 300

    @property
    def all_words(self) -> str:
        """`why` with MessageIds and their arguments, for whoever looks for a word in it."""
        parts = [
            f"{item.get('MessageId', '')} {item.get('MessageArgs', '')} {item.get('RelatedProperties', '')}"
            for item in _details(self.body)
        ]
        code = as_dict(self.body.get("error")).get("code", "")
        return " ".join([self.why, str(code), *parts])

    @property
    def why(self) -> str:
        """Status and the BMC's own words (DSP0266, 8.6 error responses), as far as there are any."""
        return f"HTTP {self.status} {' '.join(_messages(self.body)) or title(self.text)}".strip()


def reply_of(raw: Any) -> Reply:  # noqa: ANN401  # redfish is untyped
    """What `redfish` received, without its habit of raising on a body that is no JSON."""
    text = raw.text
    try:
        body = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        body = {}
    headers = {str(name).lower(): str(value) for name, value in raw.getheaders()}
    return Reply(int(raw.status), body if isinstance(body, dict) else {}, headers, text)


def _details(body: Json) -> list[Json]:
    """`@Message.ExtendedInfo`, which some give as an object and not as a list (facts/bmc.md Q10)."""
    error = as_dict(body.get("error"))
    return as_list(error.get("@Message.ExtendedInfo") or body.get("@Message.ExtendedInfo") or [])


def _messages(body: Json) -> list[str]:
    found = [
        str(item.get("Message") or item.get("MessageId"))
        for item in _details(body)
        if item.get("Message") or item.get("MessageId")
    ]
    error = as_dict(body.get("error"))
    return found or ([str(error["message"])] if error.get("message") else [])


def title(text: str) -> str:
    """The first words of a page that should have been JSON."""
    words = " ".join("".join(" " if c in "<>" else c for c in text).split())
    return f"'{words[:80]}…'" if len(words) > 80 else words


def retry_after(reply: Reply, at_most: float = 5.0) -> float:
    """Seconds the BMC asks for (RFC 9110, 10.2.3), between 0.2 and `at_most`; one where it does not say."""
    text = reply.headers.get("retry-after", "")
    return min(at_most, max(0.2, float(text))) if text.isascii() and text.isdigit() else 1.0
