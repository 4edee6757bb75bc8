"""What to ask of a virtual drive, request after request, until it takes an image or nothing is left to ask.

BMCs refuse members that others demand (facts/bmc.md Q11, Q15, Q20, Q31, Q32): an error that names one decides
about that one; an error that names none shrinks the request.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import urlsplit

from lab.bmc.api import MediaSource
from lab.bmc.quirk_model import Behaviour
from lab.bmc.redfish.json import Json
from lab.bmc.target import Unsupported
from lab.secret import conceal

_MOST = 12
_PROTOCOLS = {"http": "HTTP", "https": "HTTPS", "nfs": "NFS", "cifs": "CIFS", "smb": "CIFS"}
_NO_ACCOUNT = "none"
"""What BMCs take that want an account for media without one (Q31)."""


class InsertRequest:
    """The requests for one image and one drive.

    Raises:
        Unsupported: the drive does not take this kind of URL; nothing was sent.
    """

    def __init__(self, source: MediaSource, behaviour: Behaviour, protocols: Sequence[str] | None) -> None:
        scheme = urlsplit(source.url).scheme.lower()
        self._protocol = _PROTOCOLS.get(scheme, "")
        if not self._protocol:
            raise Unsupported(f"an image by {scheme or 'no scheme'}; http, https, nfs and cifs are known")
        if protocols is not None and self._protocol not in protocols:
            raise Unsupported(f"an image by {scheme}: the drive takes {', '.join(protocols) or 'none'}")
        by_share = self._protocol in ("NFS", "CIFS")
        self._images = _spellings(source.url) if by_share else [source.url]
        self._payloads = behaviour.media_payloads
        self._with_protocol = by_share or behaviour.transfer_protocol == "always"
        self._protocol_fixed = behaviour.transfer_protocol == "never"
        self._with_method = False
        self._account: Json = {}
        if source.user is not None:
            self._account = {"UserName": source.user, "Password": conceal(source.password or "")}
        elif behaviour.media_account == "none":
            self._account = {"UserName": _NO_ACCOUNT, "Password": _NO_ACCOUNT}
        self._own_account = source.user is not None
        self._image = self._payload = 0
        self._sent: set[str] = set()

    @property
    def body(self) -> Json:
        """What to send now."""
        full: Json = {"Image": self._images[self._image], "Inserted": True, "WriteProtected": True}
        body: Json = {name: full[name] for name in self._payloads[self._payload]}
        if self._with_protocol:
            body["TransferProtocolType"] = self._protocol
        if self._with_method:
            body["TransferMethod"] = "Stream"
        return body | self._account

    def refused(self, words: str) -> bool:
        """Change the request by what the BMC said; False when nothing is left to ask."""
        self._sent.add(json.dumps(self.body, sort_keys=True))
        if self._named(words) and self._is_new():
            return True
        while self._shrink():
            if self._is_new():
                return True
        return False

    def _is_new(self) -> bool:
        return len(self._sent) < _MOST and json.dumps(self.body, sort_keys=True) not in self._sent

    def _named(self, words: str) -> bool:
        """Whether the BMC named a member that can be added, or left out where it is there."""
        if "TransferProtocolType" in words and not self._protocol_fixed:
            self._with_protocol = not self._with_protocol
        elif "TransferMethod" in words:
            self._with_method = not self._with_method
        elif ("UserName" in words or "Password" in words) and not self._own_account:
            self._account = {} if self._account else {"UserName": _NO_ACCOUNT, "Password": _NO_ACCOUNT}
        else:
            return False
        return True

    def _shrink(self) -> bool:
        if self._payload + 1 < len(self._payloads):
            self._payload += 1
            return True
        if self._image + 1 < len(self._images):
            self._image, self._payload = self._image + 1, 0
            return True
        return False


def _spellings(url: str) -> list[str]:
    """A share as URL, and as BMCs write it that know none: `HOST:/PATH` for NFS, `//HOST/PATH` for CIFS."""
    parts = urlsplit(url)
    plain = f"{parts.netloc}:{parts.path}" if parts.scheme == "nfs" else f"//{parts.netloc}{parts.path}"
    return [url, plain]
