"""Reports read back: what the tests of the page share."""

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

HOSTILE = (
    '</script><script>window.ran = true</script><!--<img src=x onerror="window.ran=true">&\u2028'
)

Row = dict[str, Any]


def data_of(page: Path) -> Row:
    """All that a page holds, as a browser reads it."""
    found = re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def layer_of(page: Path, name: str) -> Row:
    """One layer of a page, unpacked."""
    (head,) = (one for one in data_of(page)["layers"] if one["name"] == name)
    return json.loads(zlib.decompress(base64.b64decode(head["packed"])))


def edit(path: Path, **changes: Any) -> None:
    """Put something else into a JSON file."""
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(document | changes), encoding="utf-8")


def spoil(run: Path) -> None:
    """Give a run a layer, a unit and texts that would run as code if they were not data."""
    document = json.loads((run / "programs.json").read_text(encoding="utf-8"))
    for row in document["units"]:
        if row["layer"] == "fc1":
            row |= {"layer": HOSTILE, "name": f"{HOSTILE}_{row['channel']}", "engine": HOSTILE}
    long = " + ".join(f"0.5*fc1_{i}" for i in range(800))
    document["units"][0]["program"] = f"relu({long})  # λ 日本 {HOSTILE}"
    for bank in document["banks"]:
        bank["name"] = HOSTILE if bank["name"] == "fc1" else bank["name"]
        bank["reads"] = [HOSTILE if name == "fc1" else name for name in bank["reads"]]
    edit(run / "programs.json", **document)
