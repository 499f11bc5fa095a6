"""Manifests that are signed here, verified, broken, and met without the library."""

import datetime
import io
import sys
from collections.abc import Callable
from pathlib import Path

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

from synthdet.provenance import Provenance, read_many
from tests.provenance.conftest import lines

Read = Callable[[bytes], Provenance]
MADE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MANIFEST = {
    "claim_generator_info": [{"name": "our tests", "version": "1"}],
    "assertions": [
        {
            "label": "c2pa.actions",
            "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": MADE}]},
        }
    ],
}
VALID = (
    "c2pa other: C2PA manifest of our tests, signed by Test Press; the signature is valid, the "
    "signer was not checked against a trust list"
)


def certificate(
    name: str, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, root: bool
) -> x509.Certificate:
    def named(common: str) -> x509.Name:
        oid = x509.oid.NameOID
        return x509.Name(
            [x509.NameAttribute(oid.ORGANIZATION_NAME, "Test Press"),
             x509.NameAttribute(oid.COMMON_NAME, common)]
        )  # fmt: skip

    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(not root, False, False, False, False, root, root, False, False)
    purposes = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.EMAIL_PROTECTION])
    public, issuer = key.public_key(), signer.public_key()
    builder = (
        x509.CertificateBuilder(named("root"), named(name), public, x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(root, None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), False)
        .add_extension(usage, True)
    )
    builder = builder if root else builder.add_extension(purposes, False)
    return builder.sign(signer, hashes.SHA256())


@pytest.fixture(scope="module")
def sign() -> Callable[[str], bytes]:
    """A picture of a format, with a manifest signed by a chain of two certificates."""
    root, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem = serialization.Encoding.PEM
    chain = [certificate("leaf", leaf, root, False), certificate("root", root, root, True)]
    private = leaf.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    info = c2pa.C2paSignerInfo(
        b"es256", b"".join(one.public_bytes(pem) for one in chain), private, None
    )

    def signed(form: str) -> bytes:
        plain, out = io.BytesIO(), io.BytesIO()
        Image.new("RGB", (64, 48), "red").save(plain, form)
        plain.seek(0)
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(MANIFEST) as builder:
            builder.sign(signer, f"image/{form.lower()}", plain, out)
        return out.getvalue()

    return signed


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_a_signed_file_is_verified(said_by: Read, sign: Callable[[str], bytes], form: str) -> None:
    found = said_by(sign(form))
    assert lines(found)[:2] == [
        VALID,
        "c2pa generated: digital source type: trainedAlgorithmicMedia",
    ]
    assert found.problems == ()


def test_it_is_verified_under_the_memory_limit_of_a_worker(
    tmp_path: Path, sign: Callable[[str], bytes]
) -> None:
    (tmp_path / "a.png").write_bytes(sign("PNG"))
    (found,) = read_many([tmp_path / "a.png"])
    assert lines(found)[0] == VALID


def test_pixels_that_changed_after_signing_are_noticed(
    said_by: Read, sign: Callable[[str], bytes]
) -> None:
    content = bytearray(sign("JPEG"))
    content[-10] ^= 0x55
    said = lines(said_by(bytes(content)))
    assert said[0].endswith("picture's hash is invalid: assertion.dataHash.mismatch")
    assert said[1].endswith("trainedAlgorithmicMedia (manifest invalid)")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_without_the_library_a_manifest_is_present_and_not_verified(
    said_by: Read, sign: Callable[[str], bytes], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = sign(form)
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert lines(said_by(content))[:2] == [
        "c2pa other: a C2PA manifest is present, not verified (pip install c2pa-python)",
        "c2pa generated: digital source type: trainedAlgorithmicMedia (not verified)",
    ]


def test_a_damaged_manifest_is_a_problem_and_no_crash(
    said_by: Read, sign: Callable[[str], bytes]
) -> None:
    content = sign("JPEG")
    at = content.index(b"jumd")
    broken = content[:at] + b"\xff" * 200 + content[at + 200 :]
    found = said_by(broken)
    assert not any("signature is valid" in said.text for said in found.statements)
    cut = content[:at] + b"jumdc2pa" + content[at + 8 : at + 500]
    assert said_by(cut).problems
