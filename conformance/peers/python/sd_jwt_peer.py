"""sd-jwt, the Python implementation by the authors of RFC 9901: issuing, presenting and verifying, in both directions."""

import json

from check import ALGS, NOW, Count, Key, accepted, b64u, b64u_decode, digest, rejected
from jwcrypto.jwk import JWK
from sd_jwt.common import SDObj
from sd_jwt.holder import SDJWTHolder
from sd_jwt.issuer import SDJWTIssuer
from sd_jwt.verifier import SDJWTVerifier

AUD, NONCE = "https://verifier.example", "n-0S6_WzA2Mj"
KB = {"aud": AUD, "nonce": NONCE, "max_age": 300}
BASE = {"iss": "https://issuer.example", "iat": NOW, "exp": NOW + 3600}

# User claims, and what the holder shows of them (in the library's form). Shapes of RFC 9901 §5, §6 and Appendix A.
ADDRESS = {"street_address": "Schulstr. 12", "locality": "Schulpforta", "region": "Sachsen-Anhalt", "country": "DE"}
SHAPES = {
    "nothing hidden": ({"name": "x", "list": [1, 2.5, None, True, "\U0001f600"], "empty": {}, "none": []}, {}),
    "flat": ({SDObj("given_name"): "\u592a\u90ce", SDObj("age"): 42, SDObj("address"): ADDRESS, "country": "JP"}, {"given_name": True, "address": True}),
    "flat, nothing shown": ({SDObj("given_name"): "Erika", SDObj("email"): "e@example.com"}, {}),
    "structured": ({"address": {SDObj(name): value for name, value in ADDRESS.items()}}, {"address": {"region": True, "country": True}}),
    "recursive": ({SDObj("address"): {SDObj(name): value for name, value in ADDRESS.items()}}, {"address": {"locality": True}}),
    "array": ({"nationalities": [SDObj("US"), SDObj("DE"), "FR"]}, {"nationalities": [False, True]}),
    "array, nothing shown": ({"nationalities": [SDObj("US"), SDObj("DE")]}, {}),
    "array in array": ({"colors": [SDObj(["red", SDObj("green")]), ["blue", SDObj({"name": "x", SDObj("shade"): 7})]]}, {"colors": [[False, True], [False, {"shade": True}]]}),
    "objects in array": ({"evidence": [SDObj({"type": "document", SDObj("number"): "154554"}), {SDObj("type"): "vouch"}]}, {"evidence": [{"number": True}, {"type": True}]}),
    "values of every type": ({SDObj(name): value for name, value in {"null": None, "true": True, "false": False, "zero": 0, "minus": -1, "real": 1.5e300, "text": "", "list": [], "object": {}, "big": 2**53}.items()}, {name: True for name in ("null", "true", "false", "zero", "minus", "real", "text", "list", "object", "big")}),
    "odd names": ({SDObj(""): 1, SDObj("a.b/c~d"): 2, SDObj("\u00fc\u0000\"\\"): 3, SDObj("_SD"): 4, SDObj("..", ): 5, "sd": 6}, {"": True, "a.b/c~d": True, "\u00fc\u0000\"\\": True, "_SD": True, "..": True}),
    "deep": ({"a": {SDObj("b"): {"c": [{SDObj("d"): [SDObj({"e": {SDObj("f"): "g"}})]}]}}}, {"a": {"b": {"c": [{"d": [{"e": {"f": True}}]}]}}}),
}  # fmt: skip


def issue(claims, issuer, holder=None, decoys=False, typ=None):
    header = {"typ": typ} if typ else {}
    key = JWK(**holder.public) if holder else None
    made = SDJWTIssuer({**BASE, **claims}, JWK(**issuer.jwk), key, issuer.alg, decoys, extra_header_parameters=header)
    return made.sd_jwt_issuance


def present(token, shown, holder=None):
    made = SDJWTHolder(token)
    if holder:
        made.create_presentation(shown, NONCE, AUD, JWK(**holder.jwk), holder.alg)
    else:
        made.create_presentation(shown)
    return made.sd_jwt_presentation


def read(token, issuer):
    return SDJWTVerifier(token, lambda iss, header: JWK(**issuer.public)).get_verified_payload()


def tokens():
    """What the library issues and presents."""
    for alg in ALGS:
        for name, (claims, shown) in SHAPES.items():
            for decoys in (False, True):
                issuer, holder = Key(alg), Key(ALGS[decoys ^ (alg == ALGS[0])])
                base = {"issuer_jwk": issuer.public, "now": NOW, "typ": ["example+sd-jwt", "dc+sd-jwt"]}
                what = f"{alg} {name}{', decoys' * decoys}"
                token = issue(claims, issuer, decoys=decoys)
                yield {"id": f"{what}, issued", "token": token, **base, "expect": accepted(read(token, issuer))}
                some = present(token, shown)
                yield {"id": f"{what}, shown", "token": some, **base, "expect": accepted(read(some, issuer))}
                bound = present(issue(claims, issuer, holder, decoys, "dc+sd-jwt"), shown, holder)
                case = {"token": bound, **base, "expect": accepted(read(bound, issuer))}
                yield {"id": f"{what}, bound", **case, "kb": KB}
                yield {"id": f"{what}, bound to whom it likes", **case, "kb": {"aud": None, "nonce": None, "max_age": 300}}
                yield {"id": f"{what}, bound, but should not be", **case, "expect": rejected("UnexpectedKeyBinding")}
                yield {"id": f"{what}, not bound, but should be", **base, "token": some, "kb": KB, "expect": rejected("MissingKeyBinding")}


def disclosure(*items):
    return b64u(json.dumps(items).encode())


def traps():
    """SD-JWTs that the library would not make."""
    for alg in ALGS:
        issuer, holder, other = Key(alg), Key(alg), Key(alg)
        across = Key(next(name for name in ALGS if name != alg))
        a, b = disclosure("salt-1", "a", 1), disclosure("salt-2", "b", {"x": 2})
        e = disclosure("salt-3", "element")

        def case(name, expect, payload, disclosures=(), header=None, jwk=issuer.public, alg=alg, sign=issuer, **more):
            payload = payload if isinstance(payload, str) else {**BASE, **payload}
            token = "~".join((sign.compact({"alg": sign.alg, **(header or {})}, payload), *disclosures, ""))
            return {"id": f"{alg} {name}", "token": token, "issuer_jwk": jwk, "now": NOW, **more, "expect": expect}

        def good(name, payload, disclosures, claims, **more):
            return case(name, accepted({**BASE, **claims}), payload, disclosures, **more)

        def bad(name, rule, payload, disclosures=(), **more):
            return case(name, rejected(rule), payload, disclosures, **more)

        yield good("one member", {"_sd": [digest(a)], "_sd_alg": "sha-256"}, [a], {"a": 1})
        yield good("no _sd_alg", {"_sd": [digest(a)]}, [a], {"a": 1})
        yield good("decoys only", {"_sd": [digest("x"), digest("y")], "l": [{"...": digest("z")}]}, [], {"l": []})
        yield good("_sd empty", {"_sd": [], "o": {"_sd": []}}, [], {"o": {}})
        yield good("disclosures in another order", {"_sd": [digest(a), digest(b)]}, [b, a], {"a": 1, "b": {"x": 2}})
        loose = b64u(b'[ "salt" ,\r\n "a" , \t{"x" : [ ]} ]')
        yield good("disclosure with white space", {"_sd": [digest(loose)]}, [loose], {"a": {"x": []}})
        plain = b64u('["salt","\u00fc","\U0001f600/"]'.encode())
        yield good("disclosure in UTF-8", {"_sd": [digest(plain)]}, [plain], {"\u00fc": "\U0001f600/"})
        escaped = b64u(b'["salt","\\u00fc","\\ud83d\\ude00\\/"]')
        yield good("disclosure with escapes", {"_sd": [digest(escaped)]}, [escaped], {"\u00fc": "\U0001f600/"})
        yield good("salt empty", {"_sd": [digest(disclosure("", "a", 1))]}, [disclosure("", "a", 1)], {"a": 1})
        null = disclosure("s", None)
        yield good("element null", {"l": [0, {"...": digest(null)}]}, [null], {"l": [0, None]})
        nested = disclosure("s", {"_sd": [digest(a)], "k": [{"...": digest(e)}]})
        yield good("disclosures in an element", {"l": [{"...": digest(nested)}]}, [a, e, nested], {"l": [{"a": 1, "k": ["element"]}]})
        yield good("an object that looks like an element, elsewhere", {"o": {"..": digest(e)}}, [], {"o": {"..": digest(e)}})
        yield good("a claim named sd", {"sd": [digest(a)], "sd_alg": "x"}, [], {"sd": [digest(a)], "sd_alg": "x"})

        yield bad("disclosure without a digest", "UnreferencedDisclosure", {}, [a])
        yield bad("disclosure twice", "RepeatedDisclosure", {"_sd": [digest(a)]}, [a, a])
        yield bad("digest twice in one _sd", "RepeatedDigest", {"_sd": [digest(a), digest(a)]}, [a])
        yield bad("digest twice in two places", "RepeatedDigest", {"_sd": [digest(a)], "o": {"_sd": [digest(a)]}}, [a])
        yield bad("decoy twice", "RepeatedDigest", {"_sd": [digest("x")], "l": [{"...": digest("x")}]})
        c = disclosure("s", "c", {"_sd": [digest(a)]})
        yield bad("digest twice, once in a disclosure", "RepeatedDigest", {"_sd": [digest(a), digest(c)]}, [a, c])
        yield bad("claim already there", "ClaimCollision", {"a": 0, "_sd": [digest(a)]}, [a])
        again = disclosure("salt-9", "a", 2)
        yield bad("claim disclosed twice", "ClaimCollision", {"_sd": [digest(a), digest(again)]}, [a, again])
        iss = disclosure("s", "iss", "https://evil.example")
        yield bad("iss overwritten", "ClaimCollision", {"_sd": [digest(iss)]}, [iss])
        for name in ("_sd", "...", "_sd_alg"):
            reserved = disclosure("s", name, [])
            yield bad(f"claim named {name}", "ReservedClaimName", {"_sd": [digest(reserved)]}, [reserved])
        yield bad("element's disclosure for a member", "ElementDisclosureInObject", {"_sd": [digest(e)]}, [e])
        yield bad("member's disclosure for an element", "MemberDisclosureInArray", {"l": [{"...": digest(a)}]}, [a])
        for name, items in (("one item", ["s"]), ("four items", ["s", "a", 1, 2]), ("no item", [])):
            wrong = disclosure(*items)
            yield bad(f"disclosure of {name}", "DisclosureNotTuple", {"_sd": [digest(wrong)]}, [wrong])
        for name, text, rule in (
            ("an object", '{"s":1}', "DisclosureNotTuple"), ("text", '"s"', "DisclosureNotTuple"), ("no JSON", "[", "DisclosureJson"),
            ("with more behind it", '["s","a",1] 2', "DisclosureJson"), ("with a member twice", '["s","a",{"x":1,"x":2}]', "DisclosureJson"),
            ("with a number as name", '["s",1,1]', "DisclosureName"), ("with null as name", '["s",null,1]', "DisclosureName"),
            ("with a number as salt", '[1,"a",1]', "DisclosureSalt"), ("with a lone surrogate", '["s","\\ud800",1]', "DisclosureJson"),
            ("without text", "", "EmptyDisclosure"),
        ):  # fmt: skip
            wrong = b64u(text.encode())
            yield bad(f"disclosure {name}", rule, {"_sd": [digest(wrong)]}, [wrong])
        wrong = b64u(b'["s","a","\xff"]')
        yield bad("disclosure not in UTF-8", "DisclosureJson", {"_sd": [digest(wrong)]}, [wrong])
        for name, wrong in (("padded", b64u(b'["s","a",12]') + "="), ("in base64", "WyJzIiwiYSIsIj8/Pz8iXQ+/"), ("with white space", a[:4] + " " + a[4:])):
            yield bad(f"disclosure {name}", "DisclosureBase64Url", {"_sd": [digest(wrong)]}, [wrong])
        yield bad("empty disclosure", "EmptyDisclosure", {"_sd": [digest(a)]}, [a, ""])
        for name in ("md5", "sha-1", "SHA-256", "sha256", "sha-256-128", "", None, ["sha-256"]):
            yield bad(f"_sd_alg {name!r}", "UnsupportedSdAlg", {"_sd": [digest(a)], "_sd_alg": name}, [a])
        yield bad("_sd_alg below the top", "MisplacedSdAlg", {"o": {"_sd_alg": "sha-256"}})
        yield bad("_sd is text", "SdNotArray", {"_sd": digest(a)}, [a])
        yield bad("_sd is null", "SdNotArray", {"o": {"_sd": None}})
        yield bad("digest is a number", "DigestNotString", {"_sd": [7]})
        yield bad("element's digest is a number", "DigestNotString", {"l": [{"...": 7}]})
        yield bad("element with company", "MisplacedEllipsis", {"l": [{"...": digest(e), "x": 1}]}, [e])
        yield bad("element that is none", "MisplacedEllipsis", {"o": {"...": digest(e)}}, [e])
        deep = 1
        for _ in range(100):
            deep = {"a": deep}
        yield bad("deep", "TooDeep", {"d": deep})

        yield bad("expired", "Expired", {"exp": NOW - 1})
        yield bad("expiring now", "Expired", {"exp": NOW})
        yield good("expiring soon", {"exp": NOW + 1}, [], {"exp": NOW + 1})
        yield bad("not yet valid", "NotYetValid", {"nbf": NOW + 1})
        yield good("valid from now", {"nbf": NOW}, [], {"nbf": NOW})
        yield good("times with fractions", {"nbf": NOW - 0.5, "exp": NOW + 0.5}, [], {"nbf": NOW - 0.5, "exp": NOW + 0.5})
        for name in ("exp", "nbf"):
            for value in ("1", None, True, [NOW]):
                yield bad(f"{name} {value!r}", "MalformedClaim", {name: value})
        late = disclosure("s", "nbf", NOW + 100)
        yield bad("not yet valid, as disclosed", "NotYetValid", {"_sd": [digest(late)]}, [late])

        yield bad("signed by another", "BadSignature", {}, sign=other)
        yield bad("signed by a key of another type", "AlgOfAnotherKey", {}, sign=across)
        for name in ("none", "HS256", "RS256", "ES256K"):
            yield bad(f"alg {name}", "AlgNotAllowed", {}, header={"alg": name})
        yield bad("crit", "CriticalHeader", {}, header={"crit": ["x"], "x": 1})
        yield bad("key in the header", "EmbeddedKey", {}, header={"jwk": issuer.public})
        yield bad("claims twice", "ClaimsJson", '{"iss":"a","iss":"b"}')
        yield bad("claims are a list", "ClaimsJson", "[]")
        yield good("typ in full", {}, [], {}, header={"typ": "application/Example+SD-JWT"}, typ=["example+sd-jwt"])
        yield good("unexpected typ", {}, [], {}, header={"typ": "x"})
        yield bad("typ of another kind", "TypMismatch", {}, header={"typ": "JWT"}, typ=["example+sd-jwt"])
        yield bad("no typ", "TypMismatch", {}, typ=["example+sd-jwt"])
        bare = {"id": f"{alg} no tilde", "token": issuer.compact({"alg": alg}, BASE), "issuer_jwk": issuer.public, "now": NOW}
        yield {**bare, "expect": rejected("NoTilde")}

        # SD-JWT VC.
        vc = {"header": {"typ": "dc+sd-jwt"}, "vc": True}
        yield good("VC", {"vct": "x", "_sd": [digest(a)]}, [a], {"vct": "x", "a": 1}, **vc)
        yield good("VC with the typ of earlier drafts", {"vct": "x"}, [], {"vct": "x"}, header={"typ": "vc+sd-jwt"}, vc=True)
        yield bad("VC of another typ", "TypMismatch", {"vct": "x"}, header={"typ": "example+sd-jwt"}, vc=True)
        yield bad("VC without typ", "TypMismatch", {"vct": "x"}, vc=True)
        yield bad("VC without vct", "MissingClaim", {}, **vc)
        yield bad("VC whose vct is a number", "MalformedClaim", {"vct": 1}, **vc)
        for name, value in (("vct", "x"), ("nbf", NOW), ("cnf", {"jwk": holder.public}), ("status", {"status_list": {"idx": 0, "uri": "https://x.example"}})):
            hidden = disclosure("s", name, value)
            claims = {} if name == "vct" else {"vct": "x"}
            yield bad(f"VC whose {name} is disclosed", "NotSelectivelyDisclosable", {**claims, "_sd": [digest(hidden)]}, [hidden], **vc)
        part = disclosure("s", "jwk", holder.public)
        yield bad("VC of which a part of cnf is disclosed", "NotSelectivelyDisclosable", {"vct": "x", "cnf": {"_sd": [digest(part)]}}, [part], **vc)
        hidden = disclosure("s", "nbf", NOW)
        yield good("no VC, so nbf may be disclosed", {"_sd": [digest(hidden)]}, [hidden], {"nbf": NOW})

        yield from key_binding_traps(alg, issuer, holder, other, across)


def key_binding_traps(alg, issuer, holder, other, across):
    a = disclosure("salt-1", "a", 1)
    jwk, jkt = {"jwk": holder.public}, {"jkt": holder.thumbprint}

    def case(name, expect, cnf=jwk, claims=None, header=None, sign=holder, kb=KB, of=None, now=NOW, without=None):
        payload = {**BASE, "_sd": [digest(a)], **({"cnf": cnf} if cnf is not None else {})}
        presented = issuer.compact({"alg": issuer.alg}, payload) + "~" + a + "~"
        header = {"alg": sign.alg, "typ": "kb+jwt", **(header or {})}
        body = {"iat": NOW, "aud": AUD, "nonce": NONCE, "sd_hash": digest(of(presented) if of else presented), **(claims or {})}
        body.pop(without, None)
        if expect["verdict"] == "accepted":
            expect = accepted({**BASE, "a": 1, "cnf": cnf})
        header = {name: value for name, value in header.items() if value is not None}
        return {"id": f"{alg} KB {name}", "token": presented + sign.compact(header, body), "issuer_jwk": issuer.public, "now": now, "kb": kb, "expect": expect}

    good = accepted(None)
    yield case("of cnf.jwk", good)
    yield case("of cnf.jkt, key in the header", good, jkt, header={"jwk": holder.public})
    yield case("of both", good, {**jwk, **jkt})
    yield case("of the other algorithm", good, {"jwk": across.public}, sign=across)
    yield case("at the end of its time", good, now=NOW + 300)
    yield case("of a clock that is fast", good, claims={"iat": NOW + 60})
    yield case("with other claims", good, claims={"exp": NOW + 10, "nbf": NOW, "x": {"y": 1}})
    yield case("too old", rejected("IatOutsideWindow"), now=NOW + 301)
    yield case("too new", rejected("IatOutsideWindow"), claims={"iat": NOW + 61})
    yield case("expired", rejected("Expired"), claims={"exp": NOW})
    yield case("not yet valid", rejected("NotYetValid"), claims={"nbf": NOW + 61})
    yield case("to another verifier", rejected("AudienceMismatch"), claims={"aud": AUD + "/"})
    yield case("to several", rejected("Claim"), claims={"aud": [AUD]})
    yield case("with another nonce", rejected("NonceMismatch"), claims={"nonce": NONCE + "x"})
    for name in ("iat", "aud", "nonce", "sd_hash"):
        yield case(f"without {name}", rejected("Claim"), without=name)
        yield case(f"with {name} null", rejected("Claim"), claims={name: None})
    yield case("of an issued SD-JWT without disclosures", rejected("SdHashMismatch"), of=lambda text: text.split("~")[0] + "~")
    yield case("of the text without its last tilde", rejected("SdHashMismatch"), of=lambda text: text[:-1])
    yield case("by another", rejected("BadSignature"), sign=other)
    yield case("by a key of another type", rejected("AlgOfAnotherKey"), sign=across)
    yield case("by the issuer", rejected("BadSignature"), sign=issuer)
    yield case("alg none", rejected("AlgNotAllowed"), header={"alg": "none"})
    yield case("typ JWT", rejected("TypMismatch"), header={"typ": "JWT"})
    yield case("no typ", rejected("TypMismatch"), header={"typ": None})
    yield case("crit", rejected("CriticalHeader"), header={"crit": ["x"], "x": 1})
    yield case("no cnf", rejected("NoHolderKey"), None)
    yield case("no cnf, key in the header", rejected("NoHolderKey"), None, header={"jwk": holder.public})
    yield case("cnf empty", rejected("NoHolderKey"), {})
    yield case("cnf by kid", rejected("NoHolderKey"), {"kid": "k"})
    yield case("cnf is text", rejected("MalformedCnf"), "x")
    yield case("cnf.jkt malformed", rejected("MalformedCnf"), {"jkt": holder.thumbprint[:-1]}, header={"jwk": holder.public})
    yield case("cnf.jwk is private", rejected("HolderKey"), {"jwk": holder.jwk})
    yield case("cnf.jwk is symmetric", rejected("HolderKey"), {"jwk": {"kty": "oct", "k": "AA"}})
    yield case("of cnf.jkt without a key", rejected("NoHolderKey"), jkt)
    yield case("of cnf.jkt with another key", rejected("NotTheHolderKey"), jkt, header={"jwk": other.public}, sign=other)
    yield case("with another key in the header", rejected("EmbeddedKey"), header={"jwk": other.public}, sign=other)
    yield case("cnf.jwk and cnf.jkt differ", rejected("NotTheHolderKey"), {**jwk, "jkt": other.thumbprint})


def bent():
    """What the library made, with one thing changed."""
    for alg in ALGS:
        issuer, holder = Key(alg), Key(alg)
        claims, shown = SHAPES["recursive"]
        token = present(issue(claims, issuer, holder), shown, holder)
        base = {"issuer_jwk": issuer.public, "now": NOW, "kb": KB}
        jwt, *disclosures, kb = token.split("~")

        def case(name, rule, *parts, alg=alg, base=base):
            return {"id": f"{alg} bent: {name}", "token": "~".join(parts), **base, "expect": rejected(rule)}

        yield case("outer disclosure left out", "UnreferencedDisclosure", jwt, disclosures[1], kb)
        yield case("inner disclosure left out", "SdHashMismatch", jwt, disclosures[0], kb)
        yield case("disclosures in another order", "SdHashMismatch", jwt, *reversed(disclosures), kb)
        yield case("disclosure of one's own", "UnreferencedDisclosure", jwt, *disclosures, disclosure("s", "admin", True), kb)
        salted = json.loads(b64u_decode(disclosures[1]))
        yield case("value changed", "UnreferencedDisclosure", jwt, disclosures[0], disclosure(*salted[:2], "Bern"), kb)
        yield case("disclosure written differently", "UnreferencedDisclosure", jwt, disclosures[0], b64u(json.dumps(salted, indent=1).encode()), kb)
        head, body, signature = jwt.split(".")
        claims = {**json.loads(b64u_decode(body)), "iss": "https://evil.example"}
        yield case("claim changed", "BadSignature", f"{head}.{b64u(json.dumps(claims).encode())}.{signature}", *disclosures, kb)
        yield case("signature changed", "BadSignature", f"{head}.{body}.{signature[:10]}{'A' if signature[10] != 'A' else 'B'}{signature[11:]}", *disclosures, kb)
        yield case("KB-JWT of another presentation", "SdHashMismatch", jwt, *disclosures, present(issue(*SHAPES["flat"][:1], issuer, holder), {}, holder).split("~")[-1])
        yield case("tilde doubled", "EmptyDisclosure", jwt, *disclosures, "", kb)
        yield case("KB-JWT's signature cut", "BadSignature", jwt, *disclosures, kb.rsplit(".", 1)[0] + ".")
        yield case("KB-JWT without signature", "NotCompact", jwt, *disclosures, kb.rsplit(".", 1)[0])


def verify(case):
    """The library takes ES256 alone for KB-JWTs unless configured otherwise, which its constructor does not allow."""
    key = lambda iss, header: JWK(**case["issuer_jwk"])  # noqa: E731
    if "kb" not in case:
        return SDJWTVerifier(case["token"], key).get_verified_payload() == case["value"]
    holder = case["value"]["cnf"]["jwk"]
    verifier = SDJWTVerifier(case["token"], key)
    verifier._verify_key_binding_jwt(case["kb"]["aud"], case["kb"]["nonce"], "ES256" if holder["kty"] == "EC" else "EdDSA")
    return verifier.get_verified_payload() == case["value"]


def main():
    count = Count("sd-jwt")
    count.they_sign("sd-jwt", [*tokens(), *traps(), *bent()])
    count.we_sign("sd-jwt", verify)
    count.finish()


main()
