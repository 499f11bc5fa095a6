"""C2PA manifests: signed statements on an image's history (C2PA 2.1).

With c2pa-python (``pip install c2pa-python``) the signature and the hash of the image are
verified, offline: nothing is fetched, and no list of trusted signers is consulted, so a valid
manifest proves that the file is as it was signed, and not who signed it. Without it a manifest is
reported as present, with what its bytes name.
"""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from synthdet.provenance.containers import Blocks
from synthdet.provenance.statement import Statement, plain
from synthdet.provenance.xmp import SOURCE_TYPES, source_type

_OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
_MIME = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "AVIF": "image/avif",
         "HEIF": "image/heif", "GIF": "image/gif", "TIFF": "image/tiff"}  # fmt: skip
_MOST_ACTIONS = 100
_UNTRUSTED = "signingCredential.untrusted"  # of every signer, as there is no trust list


def statements(file: BinaryIO, blocks: Blocks) -> Iterator[Statement]:
    """What the manifests in a file say; nothing where there is none."""
    if not blocks.has_c2pa:
        return
    try:
        import c2pa
    except ImportError:
        yield Statement(
            "c2pa", "other", "a C2PA manifest is present, not verified (pip install c2pa-python)"
        )
        yield from _named(blocks)
        return
    file.seek(0)
    try:
        with c2pa.Reader(
            _MIME.get(blocks.format, "application/octet-stream"),
            file,
            context=c2pa.Context.from_dict(_OFFLINE),
        ) as reader:
            store = json.loads(reader.json())
    except (c2pa.C2paError, ValueError, RecursionError) as error:
        blocks.problems.append(f"the C2PA manifest cannot be read ({plain(str(error))})")
        yield from _named(blocks)
        return
    yield from _verified(store)


def _named(blocks: Blocks) -> Iterator[Statement]:
    """Source types in the raw bytes: all that can be said of a manifest that was not verified."""
    for code in SOURCE_TYPES:
        if f"digitalsourcetype/{code}".encode() in blocks.jumbf:
            yield source_type(code, "c2pa", " (not verified)")


def _verified(store: dict[str, Any]) -> Iterator[Statement]:
    manifest = store.get("manifests", {}).get(store.get("active_manifest"), {})
    state = str(store.get("validation_state", "unknown")).lower()
    generators = manifest.get("claim_generator_info") or [{}]
    maker = generators[0].get("name") or manifest.get("claim_generator") or "an unnamed program"
    issuer = (manifest.get("signature_info") or {}).get("issuer") or "an unnamed issuer"
    trust = {
        "trusted": "the signature is valid",
        "valid": "the signature is valid, the signer was not checked against a trust list",
        "invalid": f"the signature or the picture's hash is invalid: {_faults(store)}",
    }.get(state, f"validation state {state}")
    said = f"C2PA manifest of {plain(maker)}, signed by {plain(issuer)}; {trust}"
    yield Statement("c2pa", "other", plain(said, 400))
    remark = " (manifest invalid)" if state == "invalid" else ""
    for uri in _source_types(manifest):
        yield source_type(uri, "c2pa", remark)


def _faults(store: dict[str, Any]) -> str:
    active = (store.get("validation_results") or {}).get("activeManifest") or {}
    codes = [str(entry.get("code")) for entry in active.get("failure") or []]
    return ", ".join(code for code in codes if code != _UNTRUSTED) or "no reason given"


def _source_types(manifest: dict[str, Any]) -> list[str]:
    """The digital source types that the manifest's actions name."""
    actions = [
        action
        for assertion in manifest.get("assertions") or []
        if str(assertion.get("label")).startswith("c2pa.actions")
        for action in (assertion.get("data") or {}).get("actions") or []
    ]
    found = [action.get("digitalSourceType") for action in actions[:_MOST_ACTIONS]]
    return [uri for uri in found if isinstance(uri, str)]
