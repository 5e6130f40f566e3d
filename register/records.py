"""The kinds of record that the register holds, and how their bodies are read back."""

from __future__ import annotations

from typing import Final

import msgspec

from register.centre import Centre
from register.device import Device
from register.licence import Licence
from register.miner import Miner
from register.payout_address import PayoutAddress
from register.person import Person
from register.pool_data import Accreditation, Requirement, Site, TestProtocol
from register.proposal import Proposal
from register.sighting import Sighting

Record = (
    Miner
    | Licence
    | Centre
    | Device
    | PayoutAddress
    | Accreditation
    | Site
    | TestProtocol
    | Requirement
    | Person
    | Proposal
    | Sighting
)
KINDS: Final[dict[str, type[msgspec.Struct]]] = {
    "miner": Miner,
    "licence": Licence,
    "centre": Centre,
    "device": Device,
    "address": PayoutAddress,
    "accreditation": Accreditation,
    "site": Site,
    "protocol": TestProtocol,
    "requirement": Requirement,
    "person": Person,
    "proposal": Proposal,
    "sighting": Sighting,
}
GATE_KINDS: Final = ("miner", "licence", "device", "accreditation")
"""What a gateway needs to know, and no more."""
_DECODERS: Final = {kind: msgspec.json.Decoder(type_) for kind, type_ in KINDS.items()}


def decode(kind: str, body: str) -> msgspec.Struct:
    """The record in an event's body; raises ValueError when it is none of its kind."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise ValueError(f"record kind {kind!r} is unknown; a newer dmpool may have written it")
    try:
        record: msgspec.Struct = decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{kind} record cannot be read: {error}: {body[:200]}") from error
    return record
