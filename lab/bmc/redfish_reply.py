"""An answer of a Redfish service, whatever is in it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from lab.bmc.redfish_json import Json, as_dict


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


def _messages(body: Json) -> list[str]:
    error = as_dict(body.get("error"))
    details = error.get("@Message.ExtendedInfo") or body.get("@Message.ExtendedInfo") or []
    found = [
        str(item.get("Message") or item.get("MessageId"))
        for item in (details if isinstance(details, list) else [details])
        if isinstance(item, dict) and (item.get("Message") or item.get("MessageId"))
    ]
    return found or ([str(error["message"])] if error.get("message") else [])


def title(text: str) -> str:
    """The first words of a page that should have been JSON."""
    words = " ".join("".join(" " if c in "<>" else c for c in text).split())
    return f"'{words[:80]}…'" if len(words) > 80 else words


def retry_after(reply: Reply) -> float:
    """Seconds to wait as the BMC asks, between 0.2 and 5; one where it does not say (RFC 9110, 10.2.3)."""
    text = reply.headers.get("retry-after", "")
    return min(5.0, max(0.2, float(text))) if text.isdigit() else 1.0
