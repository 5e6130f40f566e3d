"""The section `[log]`: what is wrong with a witness is said at once."""

from __future__ import annotations

from typing import Any

import pytest

from pool.config import ConfigError, load
from reporting.note import COSIGNATURE, ED25519, verifier_key

WITNESS = str(verifier_key("audit.example/w1", COSIGNATURE, bytes(32)))
HEAD = """
data_dir = "/tmp/x"
[pool]
name = "Test"
bin = "230440000105"
chain = "regtest"
address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
"""


def written(tmp_path: Any, *witnesses: dict[str, str]) -> Any:
    sections = "".join(
        "[[log.witnesses]]\n" + "".join(f'{key} = "{value}"\n' for key, value in one.items())
        for one in witnesses
    )
    path = tmp_path / "dmpool.toml"
    path.write_text(HEAD + sections)
    return path


def test_witnesses_are_read(tmp_path: Any) -> None:
    one = {"name": "auditor", "vkey": WITNESS, "url": "https://audit.example/tlog"}
    settings = load(written(tmp_path, one))
    [witness] = settings.log.witnesses
    assert (witness.name, str(witness.key), witness.url) == ("auditor", WITNESS, "https://audit.example/tlog")
    assert load(written(tmp_path)).log.witnesses == ()


@pytest.mark.parametrize(
    ("witnesses", "why"),
    [
        ([{"name": "a"}], "vkey: is missing"),
        ([{"name": "a", "vkey": "nonsense"}], "write it as name"),
        ([{"name": "a", "vkey": WITNESS.replace("audit", "other")}], "its id is"),
        ([{"name": "a", "vkey": str(verifier_key("a", ED25519, bytes(32)))}], "is not for cosignatures"),
        ([{"name": "a", "vkey": WITNESS, "url": "ftp://a"}], "write it as"),
        ([{"name": "a", "vkey": WITNESS}, {"name": "b", "vkey": WITNESS}], "have the same vkey"),
    ],
)
def test_a_wrong_witness_is_refused_in_words(
    tmp_path: Any, witnesses: list[dict[str, str]], why: str
) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        load(written(tmp_path, *witnesses))
    assert "log.witnesses" in str(caught.value)
