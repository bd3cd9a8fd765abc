"""joserfc and jwcrypto: compact JWS, thumbprints, DPoP proofs and client assertions, in both directions."""

import json
import uuid
import warnings

import joserfc.jwk
import joserfc.jws
import jwcrypto.jwk
import jwcrypto.jws
from check import ALGS, NOW, Count, Key, accepted, b64u, b64u_decode, digest, rejected

# joserfc says of every EdDSA that RFC 9864 has a better name for it.
warnings.simplefilter("ignore")

METHOD, URL, TOKEN = "POST", "https://rs.example/orders", "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"


class Joserfc:
    package = "joserfc"

    def sign(self, key, header, payload):
        return joserfc.jws.serialize_compact(header, payload, self.key(key.jwk), registry=self.registry(header["alg"]))

    def verify(self, token, jwk, alg):
        return joserfc.jws.deserialize_compact(token, self.key(jwk), registry=self.registry(alg)).payload

    def registry(self, alg):
        return joserfc.jws.JWSRegistry(algorithms=[alg], strict_check_header=False)

    def thumbprint(self, jwk):
        return self.key(jwk).thumbprint()

    def key(self, jwk):
        return joserfc.jwk.import_key(jwk)


class Jwcrypto:
    package = "jwcrypto"

    def sign(self, key, header, payload):
        token = jwcrypto.jws.JWS(payload)
        token.allowed_algs = [header["alg"]]
        token.add_signature(self.key(key.jwk), protected=json.dumps(header))
        return token.serialize(compact=True)

    def verify(self, token, jwk, alg):
        parsed = jwcrypto.jws.JWS()
        parsed.allowed_algs = [alg]
        parsed.deserialize(token, self.key(jwk))
        return parsed.payload

    def thumbprint(self, jwk):
        return self.key(jwk).thumbprint()

    def key(self, jwk):
        return jwcrypto.jwk.JWK(**jwk)


def tokens(peer):
    """Tokens that the peer signs."""
    for alg in ALGS:
        key = Key(alg)
        names = (alg, "Ed25519") if alg == "EdDSA" else (alg,)
        for name in names:
            for number, payload in enumerate((b"{}", b"\x00\xff", "\u00fc \U0001f600".encode(), b"x" * 5000)):
                for header in ({}, {"typ": "JWT", "kid": "k/1", "cty": "text", "other": {"a": [1, None]}}):
                    token = peer.sign(key, {"alg": name, **header}, payload)
                    yield {
                        "id": f"{name} {number} {len(header)}",
                        "jws": token,
                        "jwk": {**key.public, "kid": "k", "alg": name, "use": "sig"} if header else key.public,
                        "expect": accepted(b64u(payload)),
                    }


def traps(peer):
    """Bent tokens, the peer's own and ones that it would not make."""
    for alg in ALGS:
        key, other = Key(alg), Key(alg)
        across = Key(next(name for name in ALGS if name != alg))
        good = peer.sign(key, {"alg": alg}, b'{"a":1}')
        head, body, signature = good.split(".")
        octets = b64u_decode(signature)

        def trap(name, token, rule, jwk=key.public, alg=alg):
            return {"id": f"{alg} {name}", "jws": token, "jwk": jwk, "expect": rejected(rule)}

        yield trap("another key", good, "BadSignature", other.public)
        yield trap("key of another type", good, "AlgOfAnotherKey", across.public)
        yield trap("payload changed", f"{head}.{b64u(b'{}')}.{signature}", "BadSignature")
        yield trap("header changed", f"{b64u(json.dumps({'alg': alg, 'kid': 'k'}).encode())}.{body}.{signature}", "BadSignature")
        for at in (0, 31, 32, 63):
            bent = bytearray(octets)
            bent[at] ^= 1
            yield trap(f"octet {at} of the signature changed", f"{head}.{body}.{b64u(bytes(bent))}", "BadSignature")
        yield trap("signature cut", f"{head}.{body}.{b64u(octets[:-1])}", "BadSignature")
        yield trap("signature longer", f"{head}.{body}.{b64u(octets + bytes(1))}", "BadSignature")
        yield trap("signature of zeros", f"{head}.{body}.{b64u(bytes(64))}", "BadSignature")
        yield trap("no signature", f"{head}.{body}.", "BadSignature")
        yield trap("padding", good + "=", "Base64Url")
        yield trap("white space at the end", good + "\n", "Base64Url")
        yield trap("a bit left over", good[:-1] + chr(ord(good[-1]) + 1), "Base64Url")
        yield trap("two parts", f"{head}.{body}", "NotCompact")
        yield trap("four parts", good + ".", "NotCompact")
        yield trap("payload detached", f"{head}..{signature}", "BadSignature")
        for name in ("none", "None", "NONE", "nOnE", "", "HS256", "HS512", "RS256", "PS256", "ES384", "ES512", "ES256K",
                     "Ed448", "eddsa", "es256", "ES256 ", "ED25519"):  # fmt: skip
            yield trap(f"alg {name!r}", key.compact({"alg": name}, "{}"), "AlgNotAllowed")
        unsigned = b64u(json.dumps({"alg": "none"}).encode())
        yield trap("alg none, unsigned", f"{unsigned}.{body}.", "AlgNotAllowed")
        yield trap("alg of the other type", key.compact({"alg": across.alg}, "{}"), "AlgOfAnotherKey")
        for name, header in (("missing", {}), ("null", {"alg": None}), ("a list", {"alg": [alg]}), ("a number", {"alg": 1})):
            yield trap(f"alg {name}", key.compact(header, "{}"), "HeaderMember")
        yield trap("alg twice", key.compact(f'{{"alg":"none","alg":"{alg}"}}', "{}"), "HeaderJson")
        yield trap("a member twice, by escape", key.compact(f'{{"alg":"{alg}","kid":"a","\\u006bid":"b"}}', "{}"), "HeaderJson")
        yield trap("header is a list", key.compact(f'["{alg}"]', "{}"), "HeaderJson")
        yield trap("header is not UTF-8", key.compact(b'{"alg":"' + alg.encode() + b'","kid":"\xff"}', "{}"), "HeaderJson")
        yield trap("header with more behind it", key.compact(f'{{"alg":"{alg}"}}{{}}', "{}"), "HeaderJson")
        yield trap("crit with an unknown name", key.compact({"alg": alg, "crit": ["x"], "x": 1}, "{}"), "CriticalHeader")
        yield trap("crit empty", key.compact({"alg": alg, "crit": []}, "{}"), "CriticalHeader")
        yield trap("crit of a registered name", key.compact({"alg": alg, "crit": ["alg"]}, "{}"), "CriticalHeader")
        yield trap("b64 false", key.compact({"alg": alg, "crit": ["b64"], "b64": False}, "{}"), "CriticalHeader")
        yield trap("b64 false without crit", key.compact({"alg": alg, "b64": False}, "{}"), "CriticalHeader")
        yield trap("key in the header", other.compact({"alg": alg, "jwk": other.public}, "{}"), "EmbeddedKey")
        for name in ("jku", "x5u"):
            yield trap(name, key.compact({"alg": alg, name: "https://evil.example/keys"}, "{}"), "EmbeddedKey")
        yield trap("x5c", key.compact({"alg": alg, "x5c": ["AA=="]}, "{}"), "EmbeddedKey")
        yield trap("JSON serialisation", json.dumps({"protected": head, "payload": body, "signature": signature}), "NotCompact")
        yield trap("key for encryption", good, "NotForThis", {**key.public, "use": "enc"})
        yield trap("key that may only sign", good, "NotForThis", {**key.public, "key_ops": ["sign"]})
        yield trap("key for another alg", good, "NotForThis", {**key.public, "alg": across.alg})
        yield trap("symmetric key", good, "PrivateMember", {"kty": "oct", "k": key.public["x"]})
        if alg == "ES256":
            yield trap("signature in DER", f"{head}.{body}.{b64u(key.der(f'{head}.{body}'.encode()))}", "BadSignature")
            order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
            yield trap("r and s of the order", f"{head}.{body}.{b64u(order.to_bytes(32, 'big') * 2)}", "BadSignature")
        else:
            order = 2**252 + 27742317777372353535851937790883648493
            s = int.from_bytes(octets[32:], "little") + order
            yield trap("s not reduced", f"{head}.{body}.{b64u(octets[:32] + s.to_bytes(32, 'little'))}", "BadSignature")


def proofs(peer):
    """DPoP proofs that the peer signs, and bent ones."""
    for alg in ALGS:
        key, other = Key(alg), Key(alg)
        header = {"typ": "dpop+jwt", "alg": alg, "jwk": key.public}
        claims = {"jti": str(uuid.uuid4()), "htm": METHOD, "htu": URL, "iat": NOW}
        request = {"method": METHOD, "url": URL, "now": NOW, "window": 60}

        def case(name, expect, header=header, claims=claims, alg=alg, **more):
            proof = peer.sign(key, header, json.dumps(claims).encode())
            return {"id": f"{alg} {name}", "proof": proof, **request, **more, "expect": expect}

        def raw(name, expect, header, payload, alg=alg):
            return {"id": f"{alg} {name}", "proof": key.compact(header, payload), **request, "expect": expect}

        def without(name, of):
            return {k: v for k, v in of.items() if k != name}

        good = accepted({"jti": claims["jti"], "jkt": key.thumbprint})
        yield case("plain", good)
        yield case("of the key bound", good, jkt=key.thumbprint)
        yield case("with nonce", good, claims={**claims, "nonce": "n-1"}, nonce="n-1")
        yield case("with an unexpected nonce", good, claims={**claims, "nonce": "n-1"})
        yield case("with access token", good, claims={**claims, "ath": digest(TOKEN)}, access_token=TOKEN)
        yield case("for a URL with query and fragment", good, url=URL + "?a=1#b")
        yield case("whose htu has query and fragment", good, claims={**claims, "htu": URL + "?a=1#b"})
        yield case("whose htu has the default port and capitals", good, claims={**claims, "htu": "HTTPS://RS.example:443/orders"})
        yield case("at the end of the window", good, now=NOW + 60)
        yield case("at the start of the window", good, now=NOW - 60)
        yield case("whose iat has a fraction", good, claims={**claims, "iat": NOW + 0.5})
        yield case("with another claim and header", good, {**header, "kid": "k"}, {**claims, "x": [1]})
        yield case("key with kid", good, {**header, "jwk": {**key.public, "kid": "k", "use": "sig"}})
        yield case("typ in full", good, {**header, "typ": "application/dpop+jwt"})
        yield case("too old", rejected("IatOutsideWindow"), now=NOW + 61)
        yield case("too new", rejected("IatOutsideWindow"), now=NOW - 61)
        yield case("other method", rejected("HtmMismatch"), method="GET")
        yield case("method in lower case", rejected("HtmMismatch"), claims={**claims, "htm": "post"})
        for name, url in (("path", URL + "/"), ("host", "https://rs.example.org/orders"), ("port", "https://rs.example:8443/orders"),
                          ("scheme", "http://rs.example/orders"), ("case of the path", "https://rs.example/Orders")):  # fmt: skip
            yield case(f"other {name}", rejected("HtuMismatch"), claims={**claims, "htu": url})
        for url in ("/orders", "rs.example/orders", "", "https://", "https://user@rs.example/orders", "ftp://rs.example/orders"):
            yield case(f"htu {url!r}", rejected("Claim"), claims={**claims, "htu": url})
        for name in claims:
            yield case(f"no {name}", rejected("Claim"), claims=without(name, claims))
            yield case(f"{name} null", rejected("Claim"), claims={**claims, name: None})
        yield case("jti empty", rejected("Claim"), claims={**claims, "jti": ""})
        yield case("iat as text", rejected("Claim"), claims={**claims, "iat": str(NOW)})
        yield case("no ath", rejected("AthMissing"), access_token=TOKEN)
        yield case("ath of another token", rejected("AthMismatch"), claims={**claims, "ath": digest("x")}, access_token=TOKEN)
        yield case("ath is the token", rejected("AthMismatch"), claims={**claims, "ath": TOKEN}, access_token=TOKEN)
        yield case("no nonce", rejected("NonceMissing"), nonce="n-1")
        yield case("another nonce", rejected("NonceMismatch"), claims={**claims, "nonce": "n-2"}, nonce="n-1")
        yield case("of another key than the one bound", rejected("KeyNotBound"), jkt=other.thumbprint)
        yield case("typ JWT", rejected("TypMismatch"), {**header, "typ": "JWT"})
        yield case("no typ", rejected("TypMismatch"), without("typ", header))
        yield case("no key", rejected("KeyMissing"), without("jwk", header))
        yield raw("key of another", rejected("BadSignature"), {**header, "jwk": other.public}, claims)
        yield raw("private key", rejected("EmbeddedKeyInvalid"), {**header, "jwk": key.jwk}, claims)
        yield raw("symmetric key", rejected("AlgNotAllowed"), {**header, "alg": "HS256", "jwk": {"kty": "oct", "k": "AA"}}, claims)
        yield raw("alg none", rejected("AlgNotAllowed"), {**header, "alg": "none"}, claims)
        yield raw("alg RS256", rejected("AlgNotAllowed"), {**header, "alg": "RS256"}, claims)
        yield raw("claims twice", rejected("ClaimsJson"), header, json.dumps(claims)[:-1] + f',"iat":{NOW}}}')
        yield raw("claims are a list", rejected("ClaimsJson"), header, "[]")
        yield raw("crit", rejected("CriticalHeader"), {**header, "crit": ["x"], "x": 1}, claims)
        yield raw("jku", rejected("EmbeddedKey"), {**header, "jku": "https://evil.example/keys"}, claims)


def verify_token(peer):
    def verify(case):
        jwk = case["jwk"]
        alg = json.loads(b64u_decode(case["jws"].split(".")[0]))["alg"]
        return peer.verify(case["jws"], jwk, alg) == b64u_decode(case["value"])

    return verify


def verify_proof(peer):
    def verify(case):
        header = json.loads(b64u_decode(case["proof"].split(".")[0]))
        claims = json.loads(peer.verify(case["proof"], header["jwk"], header["alg"]))
        expected = {"htm": case["method"], "iat": case["now"]}
        if case["access_token"]:
            expected["ath"] = digest(case["access_token"])
        if case["nonce"]:
            expected["nonce"] = case["nonce"]
        return (
            header["typ"] == "dpop+jwt"
            and "d" not in header["jwk"]
            and peer.thumbprint(header["jwk"]) == case["jkt"]
            and len(claims.pop("jti")) >= 22
            and "?" not in claims["htu"]
            and claims.pop("htu").lower().startswith("https://")
            and claims == expected
        )

    return verify


def main():
    for peer in (Joserfc(), Jwcrypto()):
        count = Count(peer.package)
        count.they_sign("jws", [*tokens(peer), *traps(peer)])
        count.they_sign("dpop", list(proofs(peer)))
        keys = [Key(alg) for alg in ALGS for _ in range(10)]
        jwks = [jwk for key in keys for jwk in (key.public, key.jwk, {**key.public, "kid": "k", "use": "enc", "ext": True})]
        cases = [{"id": n, "jwk": jwk, "expect": accepted({"thumbprint": peer.thumbprint(jwk)})} for n, jwk in enumerate(jwks)]
        count.they_sign("jwk", cases)
        count.we_sign("jws", verify_token(peer))
        count.we_sign("dpop", verify_proof(peer))
        count.we_sign("jwk", lambda case: peer.thumbprint(case["jwk"]) == case["value"]["thumbprint"])
        count.finish()


main()
