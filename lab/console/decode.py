"""Bytes of a serial console into plain text, a piece at a time.

Pure and incremental: however the bytes are cut into pieces, the text is the same. In the text the only
control characters are the line feed and the tab.

- UTF-8; what is not becomes U+FFFD. NUL, bell, backspace and other control characters are dropped.
- `CR LF`, `LF CR` and `CR CR LF` end one line. A lone CR goes back to the line's start to overwrite it: the
  overwritten line and the new one both stay, as two lines.
- ECMA-48 sequences (colours, erasing, titles) are dropped. One that moves the cursor forward on its line
  becomes spaces; one that moves it elsewhere ends the line, so that the rows of a menu are lines.
- A malformed or endless sequence is garbage: its ESC is dropped and the rest kept, so no text hides in it.
- A line longer than `MAX_LINE` is broken, so that the work on a line is bounded.

Source: ECMA-48 §5.3, §8.3 (CUP, CUF, CHA, ED); what firmware and GRUB send was seen on serial ports of QEMU.
"""

from __future__ import annotations

import codecs
import re

MAX_LINE = 4096
_MAX_GAP = 80

_PLAIN = r"[\t\n\x20-\x7e\xa0-\U0010ffff]+"
_CSI = r"\x1b\[[0-?]{0,64}[ -/]{0,4}[@-~]"
_STRING = r"\x1b[\]PX^_][^\x00-\x1f\x7f]{0,256}(?:\x07|\x1b\\)"
_ESCAPE = r"\x1b[ -/]{0,4}(?![\[\]PX^_])[0-~]"
_TOKEN = re.compile(
    rf"(?P<plain>{_PLAIN})|(?P<cr>\r+\n?)|(?P<csi>{_CSI})|{_STRING}|(?P<escape>{_ESCAPE})|[\s\S]"
)
# The end of a buffer that is the beginning of a token: it waits for what more bytes make of it.
_UNFINISHED = re.compile(
    r"(?:\r+|\x1b(?:[ -/]{0,4}|\[[0-?]{0,64}[ -/]{0,4}|[\]PX^_][^\x00-\x1f\x7f]{0,256}\x1b?))\Z"
)


class Decoder:
    """One console's decoder; see the module's text for the rules."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting = ""
        self._row: int | None = None
        self._column = 0
        self._length = 0

    def feed(self, data: bytes) -> str:
        """The text that `data` adds."""
        return self._decode(self._utf8.decode(data), final=False)

    def flush(self) -> str:
        """The text that was waiting for more bytes, which will not come; the decoder is done."""
        return self._decode(self._utf8.decode(b"", final=True), final=True)

    def _decode(self, piece: str, *, final: bool) -> str:
        buffer = (self._waiting + piece).replace("\r\n", "\n")
        self._waiting = ""
        out: list[str] = []
        at = 0
        while at < len(buffer):
            if not final and buffer[at] in "\r\x1b" and _UNFINISHED.match(buffer, at):
                self._waiting = buffer[at:]
                break
            token = _TOKEN.match(buffer, at)
            if token is None:  # cannot be: the last alternative takes any character
                break
            self._take(token, out)
            at = token.end()
        return "".join(out)

    def _take(self, token: re.Match[str], out: list[str]) -> None:
        kind = token.lastgroup
        if kind == "plain":
            self._write(token[0], out)
        elif kind == "cr":
            if token[0].endswith("\n"):
                self._write("\n", out)
            else:
                self._break(out)
        elif kind == "csi":
            self._move(token[0], out)
        elif kind == "escape" and token[0][1:] in ("D", "E", "M", "c"):
            self._row = None
            self._break(out)

    def _write(self, text: str, out: list[str]) -> None:
        first, *rest = text.split("\n")
        self._append(first, out)
        for line in rest:
            out.append("\n")
            self._row = None if self._row is None else self._row + 1
            self._column = self._length = 0
            self._append(line, out)

    def _append(self, text: str, out: list[str]) -> None:
        self._column += len(text)
        while self._length + len(text) > MAX_LINE:
            room = MAX_LINE - self._length
            out += [text[:room], "\n"]
            text, self._length = text[room:], 0
        out.append(text)
        self._length += len(text)

    def _break(self, out: list[str]) -> None:
        """End the line, if there is one, without moving to the next row."""
        if self._length:
            out.append("\n")
        self._column = self._length = 0

    def _move(self, sequence: str, out: list[str]) -> None:
        final, numbers = sequence[-1], [int(n) for n in re.findall(r"\d{1,4}", sequence)]
        if final in "Hf":
            row, column = ([*numbers, 1, 1])[:2] if len(numbers) != 1 else (numbers[0], 1)
            if row != self._row:
                self._break(out)
            self._go(max(column, 1) - 1, out)
            self._row = row
        elif final == "C":
            self._go(self._column + (numbers[0] if numbers else 1), out)
        elif final == "G":
            self._go(max(numbers[0] if numbers else 1, 1) - 1, out)
        elif final in "ABEFJd":
            self._row = None
            self._break(out)

    def _go(self, column: int, out: list[str]) -> None:
        """Move to a column of the same row: blanks forward, a new line backward."""
        if column < self._column:
            self._break(out)
        elif self._length:
            self._append(" " * min(column - self._column, _MAX_GAP), out)
        self._column = column
