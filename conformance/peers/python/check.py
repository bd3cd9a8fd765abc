"""What every peer here needs: the binary under test, raw tokens for traps, and the count of what passed."""

import base64
import hashlib
import importlib.metadata
import json
import os
import subprocess
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

BINARY = os.environ["CONFORMANCE"]
ALGS = ("EdDSA", "ES256")
NOW = int(time.time())


def b64u(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def b64u_decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def digest(text):
    return b64u(hashlib.sha256(text.encode()).digest())


class Key:
    """A throw-away key with the signature octets of RFC 7518 and RFC 8032, below every library under test."""

    def __init__(self, alg):
        self.alg = alg
        if alg == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
            octets = self.private.public_key().public_bytes_raw()
            self.public = {"kty": "OKP", "crv": "Ed25519", "x": b64u(octets)}
            self.d = b64u(self.private.private_bytes_raw())
        else:
            self.private = ec.generate_private_key(ec.SECP256R1())
            numbers = self.private.private_numbers()
            x, y = (b64u(n.to_bytes(32, "big")) for n in (numbers.public_numbers.x, numbers.public_numbers.y))
            self.public = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
            self.d = b64u(numbers.private_value.to_bytes(32, "big"))

    @property
    def jwk(self):
        return {**self.public, "d": self.d}

    @property
    def thumbprint(self):
        return digest(json.dumps(self.public, sort_keys=True, separators=(",", ":")))

    def der(self, octets):
        return self.private.sign(octets, ec.ECDSA(hashes.SHA256()))

    def sign(self, octets):
        if self.alg == "EdDSA":
            return self.private.sign(octets)
        r, s = decode_dss_signature(self.der(octets))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def compact(self, header, payload):
        """A compact JWS of this header and payload exactly: objects as JSON, texts and octets as they are."""
        parts = (part if isinstance(part, (str, bytes)) else json.dumps(part) for part in (header, payload))
        head = ".".join(b64u(part.encode() if isinstance(part, str) else part) for part in parts)
        return head + "." + b64u(self.sign(head.encode()))


class Count:
    """Checks of one peer. `finish` prints the counts that `run` adds up."""

    def __init__(self, package):
        self.name = f"{package} {importlib.metadata.version(package)}"
        self.passed = self.failed = 0

    def check(self, what, good, seen=""):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED {self.name}: {what} {seen}")

    def they_sign(self, kind, cases):
        """Cases made by the peer, or by bending what it made; `expect` has the members that the verdict must have."""
        record = os.environ.get("RECORD")
        if record:
            with open(record, "a") as out:
                out.writelines(json.dumps({"kind": kind, "source": self.name, **case}) + "\n" for case in cases)
        for case, verdict in zip(cases, judge(kind, cases), strict=True):
            good = all(verdict.get(name) == value for name, value in case["expect"].items())
            self.check(f"{kind}, {case['id']}", good, verdict)

    def we_sign(self, kind, verify):
        """Cases signed by the binary: `verify` raises an exception or returns whether it agrees."""
        for case in signed(kind):
            try:
                good, seen = verify(case), ""
            except Exception as error:
                good, seen = False, repr(error)
            self.check(f"{kind}, ours: {case['id']}", good, seen)

    def finish(self):
        print(f"{self.name}: {self.passed} passed, {self.failed} failed, 0 skipped")


def judge(kind, cases):
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    out = subprocess.run([BINARY, "vectors", kind], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in out.stdout.split("\n")[:-1]]


def signed(kind):
    out = subprocess.run([BINARY, "sign", kind], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in out.stdout.split("\n")[:-1]]


def accepted(value):
    return {"verdict": "accepted", "value": value}


def rejected(rule):
    return {"verdict": "rejected", "rule": rule}
