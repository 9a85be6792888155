"""How records are kept in the store: JSON, compressed, for programs are long and alike."""

import json
import zlib
from typing import Any


def packed(value: Any) -> bytes:
    """A JSON-able value as bytes; `unpacked` gives it back."""
    return zlib.compress(json.dumps(value).encode(), 1)


def unpacked(payload: bytes) -> Any:
    """The value that `packed` was given. Raises zlib.error or ValueError for other bytes."""
    return json.loads(zlib.decompress(payload))
