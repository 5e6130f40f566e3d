"""QR codes as pictures: black on white with their margin, so that a phone reads them on a dark page, too."""

from __future__ import annotations

import io
from typing import Final

import segno
from fastapi import Response

_HEADERS: Final = {"Cache-Control": "private, no-store"}


def qr_picture(text: str) -> Response:
    """A text as a QR code."""
    drawn = io.BytesIO()
    code = segno.make(text, error="m", micro=False)
    code.save(drawn, kind="svg", scale=6, border=4, dark="#000", light="#fff", xmldecl=False)
    return Response(drawn.getvalue(), 200, _HEADERS, "image/svg+xml")
