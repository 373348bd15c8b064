"""Tokens, certificates and refusals, as a caller has them."""

from __future__ import annotations

import datetime
import ipaddress

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from serving.access.tokens import add_token


def token(home, name="planner-1", role="planner", *, expires=None, rate=1_000.0, concurrency=100):
    """A token's text."""
    made = add_token(home, name, role=role, expires=expires, rate=rate, concurrency=concurrency)
    return made[1]


def bearer(text):
    return (("authorization", f"Bearer {text}"),)


def refusal(error):
    """The code of a failed call, and its details by type."""
    status = rpc_status.from_call(error)
    assert status is not None, error
    found = {}
    for detail in status.details:
        kind = detail.TypeName().rpartition(".")[2]
        found[kind] = getattr(error_details_pb2, kind)()
        assert detail.Unpack(found[kind])
    assert found["ErrorInfo"].domain == "surgecast"
    assert found["ErrorInfo"].metadata["field"]
    return error.code(), found


def refused(call, *arguments, **options):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    return refusal(caught.value)


class Authority:
    """A certificate authority of the test's own; `issue` writes a certificate and a key."""

    def __init__(self, folder, name):
        self.folder = folder
        self.name = name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.cert = self._sign(name, self.key, self.key, name, authority=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.cert.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject, key, by, issuer, *, authority=False):
        now = datetime.datetime.now(datetime.UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if not authority:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(by, hashes.SHA256())

    def issue(self, name):
        key = ec.generate_private_key(ec.SECP256R1())
        cert = self._sign(name, key, self.key, self.name)
        cert_file, key_file = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        cert_file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return cert_file, key_file
