"""http-message-signatures: requests and responses, in both directions, with tampered twins of what it signs."""

import base64
import copy
import datetime
import hashlib

from check import ALGS, NOW, Count, Key, accepted, rejected
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, algorithms
from http_message_signatures.resolvers import MappingKeyResolver
from jwcrypto.jwk import JWK

LIBRARY = {"EdDSA": algorithms.ED25519, "ES256": algorithms.ECDSA_P256_SHA256}
NAMES = {"EdDSA": "ed25519", "ES256": "ecdsa-p256-sha256"}


class Fields:
    """Field lines in order, names without regard to case, as the library expects them."""

    def __init__(self, pairs):
        self.pairs = [tuple(pair) for pair in pairs]

    def items(self):
        return list(self.pairs)

    def __iter__(self):
        return iter(name for name, _ in self.pairs)

    def __contains__(self, wanted):
        return any(name.lower() == wanted.lower() for name, _ in self.pairs)

    def __getitem__(self, wanted):
        return ", ".join(value for name, value in self.pairs if name.lower() == wanted.lower())

    def __setitem__(self, name, value):
        self.pairs.append((name, value))

    def __delitem__(self, wanted):
        self.pairs = [(name, value) for name, value in self.pairs if name.lower() != wanted.lower()]


class Request:
    def __init__(self, described):
        self.method, self.url, self.headers = described["method"], described["url"], Fields(described["headers"])


class Response:
    def __init__(self, described, request=None):
        self.status_code, self.headers = described["status"], Fields(described["headers"])
        self.url, self.request = "", request


def b64(octets):
    return base64.b64encode(octets).decode()


def content_digest(body, *names):
    return ", ".join(f"{name}=:{b64(hashlib.new(name.replace('-', ''), body).digest())}:" for name in names or ["sha-256"])


BODY = b'{"hello": "world"}'
FIELDS = [
    ["Host", "example.com"],
    ["Date", "Tue, 20 Apr 2021 02:07:55 GMT"],
    ["Content-Type", "application/json"],
    ["Content-Digest", content_digest(BODY, "sha-512", "sha-256")],
    ["Content-Length", str(len(BODY))],
    ["Cache-Control", "max-age=60"],
    ["Cache-Control", "    must-revalidate  "],
    ["Example-Dict", "  a=1,    b=2;x=1;y=2,   c=(a   b    c), d, e=?0, f=:AQI=:, g=1.50"],
    ["Priority", "u=1,   i"],
    ["X-Empty", ""],
    ["X-Obs", "one\r\n  two"],
    ["X-Tab", "a\tb"],
]


def request(method="POST", url="https://example.com/foo?param=Value&Pet=dog", headers=FIELDS, body=BODY):
    return {"kind": "request", "method": method, "url": url, "headers": list(headers), "body_b64": b64(body)}


def response(status=200, headers=FIELDS, body=BODY):
    return {"kind": "response", "status": status, "headers": list(headers), "body_b64": b64(body)}


def message(described, to=None):
    return Request(described) if described["kind"] == "request" else Response(described, to and Request(to))


SIGNED = [
    ("all of a request's own", request(), None, ["@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query"]),
    ("query parameters", request(url="https://example.com/parameters?var=this%20is%20a%20big%0Avalue&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something&e=&t=~*-._"), None,
     [f'"@query-param";name="{name}"' for name in ("var", "bar", "fa%C3%A7ade%22%3A%20", "e", "t")]),
    ("no query", request("GET", "https://example.com"), None, ["@target-uri", "@path", "@query", "@request-target"]),
    ("query empty", request("GET", "https://example.com/?"), None, ["@target-uri", "@query", "@request-target"]),
    ("port and capitals", request("GET", "HTTPS://WWW.Example.COM:443/%7Ea/../b?%20"), None, ["@authority", "@scheme", "@path", "@query", "@target-uri"]),
    ("another port", request("GET", "http://example.com:8080/"), None, ["@authority", "@scheme"]),
    ("IPv6", request("GET", "https://[2001:DB8::1]:8443/"), None, ["@authority", "@target-uri"]),
    ("OPTIONS", request("OPTIONS", "https://example.com"), None, ["@method", "@target-uri"]),
    ("fields", request(), None, ["host", "date", "content-type", "content-length", "content-digest", "cache-control", "example-dict", "x-empty", "x-obs", "x-tab"]),
    ("members of a dictionary", request(), None, [f'"example-dict";key="{key}"' for key in "abcdefg"] + ['"content-digest";key="sha-256"']),
    ("strict fields", request(), None, ['"content-digest";sf', '"priority";sf', '"cache-control";sf']),
    ("fields in octets", request(), None, ['"cache-control";bs', '"x-obs";bs', '"x-empty";bs']),
    ("nothing", request(), None, []),
    ("a response", response(), None, ["@status", "content-type", "content-digest", "content-length"]),
    ("a response without content", response(204, FIELDS[:3], b""), None, ["@status", "date"]),
    ("a response and its request", response(503), request(), ["@status", "content-digest", '"@method";req', '"@target-uri";req', '"@authority";req', '"@path";req', '"@query";req', '"@scheme";req', '"content-digest";req', '"@query-param";req;name="Pet"', '"example-dict";key="c";req']),
]  # fmt: skip


def sign(key, described, to, components, label="sig1", tag=None, nonce=None, alg=True):
    """Lets the library sign; gives the message with its two new fields."""
    resolver = MappingKeyResolver(public_keys={}, private_keys={"k": key.private})
    target = message(described, to)
    at = datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc)
    HTTPMessageSigner(signature_algorithm=LIBRARY[key.alg], key_resolver=resolver).sign(
        target, key_id="k", created=at, expires=at + datetime.timedelta(seconds=300), label=label, tag=tag, nonce=nonce,
        include_alg=alg, covered_component_ids=components, append_if_signature_exists="Signature" in target.headers, use_existing_digest="Content-Digest" in target.headers,
    )  # fmt: skip
    return {**described, "headers": [list(pair) for pair in target.headers.items()]}


def signed():
    for alg in ALGS:
        key = Key(alg)
        for name, described, to, components in SIGNED:
            for tagged in (False, True):
                target = sign(key, described, to, components, tag="app" if tagged else None, nonce='n"\\' if tagged else None, alg=tagged)
                base = {"keys": {"k": key.public}, "now": NOW, "max_age": 60, "require": components}
                case = {"message": target, **base, **({"request": to} if to else {})}
                yield {"id": f"{alg} {name}{', tagged' * tagged}", **case, "expect": {"verdict": "accepted"}}
                if tagged:
                    yield from twins(f"{alg} {name}", case)
        two = sign(Key(alg), request(), None, ["@method"], label="theirs")
        two = sign(key, two, None, ["@path", "date"], label="ours")
        yield {"id": f"{alg} two labels, one key", "message": two, "keys": {"k": key.public}, "expect": {"verdict": "accepted"}}
        yield {"id": f"{alg} two labels, the good one asked for", "message": two, "keys": {"k": key.public}, "label": "ours", "expect": {"verdict": "accepted"}}
        yield {"id": f"{alg} two labels, the other asked for", "message": two, "keys": {"k": key.public}, "label": "theirs", "expect": rejected("BadSignature")}


def twins(name, case):
    """The same message with one thing changed that the signature covers, or one that it does not."""

    def twin(what, rule, change):
        other = copy.deepcopy(case)
        change(other)
        return {"id": f"{name}, {what}", **other, "expect": rejected(rule) if rule else {"verdict": "accepted"}}

    def field(wanted, change):
        def apply(other):
            pairs = other["message"]["headers"]
            other["message"]["headers"] = [[n, change(v)] if n.lower() == wanted else [n, v] for n, v in pairs]

        return apply

    components = case["require"]

    def covers(wanted):
        return any(component.strip('"').split('"')[0] == wanted and "req" not in component for component in components)

    def bend(value):
        at = value.index(":") + 5
        return value[:at] + ("A" if value[at] != "A" else "B") + value[at + 1 :]

    yield twin("signature changed", "BadSignature", field("signature", bend))
    yield twin("signature cut", "BadSignature", field("signature", lambda v: v[: v.index(":") + 1] + v[v.index(":") + 5 :]))
    yield twin("parameter changed", "BadSignature", field("signature-input", lambda v: v.replace("app", "apq")))
    yield twin("parameters in another order", "BadSignature", field("signature-input", lambda v: v.replace(';tag="app"', "") + ';tag="app"' if not v.endswith('tag="app"') else v.replace(f";created={NOW}", "") + f";created={NOW}"))
    yield twin("label changed in one field", "NoSignature", field("signature", lambda v: v.replace("sig1=", "sig2=")))
    yield twin("label changed in both", None, lambda other: (field("signature", lambda v: v.replace("sig1=", "a="))(other), field("signature-input", lambda v: v.replace("sig1=", "a="))(other)))
    yield twin("unknown key", "UnknownKey", lambda other: other.update(keys={}))
    yield twin("another key", "BadSignature", lambda other: other.update(keys={"k": Key("EdDSA" if "x" in other["keys"]["k"] and "y" not in other["keys"]["k"] else "ES256").public}))
    yield twin("key of another type", "AlgMismatch", lambda other: other.update(keys={"k": Key("ES256" if "y" not in other["keys"]["k"] else "EdDSA").public}))
    yield twin("later", "Expired", lambda other: other.update(now=NOW + 300))
    yield twin("too old", "TooOld", lambda other: other.update(now=NOW + 61))
    yield twin("from the future", "CreatedInFuture", lambda other: other.update(now=NOW - 61))
    yield twin("no time asked for", None, lambda other: (other.pop("now"), other.pop("max_age")))
    yield twin("something else required", "NotCovered", lambda other: other.update(require=[*components, "x-other"]))
    yield twin("without Signature", "MissingField", lambda other: other["message"].update(headers=[p for p in other["message"]["headers"] if p[0] != "Signature"]))
    yield twin("without Signature-Input", "MissingField", lambda other: other["message"].update(headers=[p for p in other["message"]["headers"] if p[0] != "Signature-Input"]))
    yield twin("Signature twice", "Repeated", lambda other: other["message"]["headers"].extend(p for p in list(other["message"]["headers"]) if p[0] == "Signature"))
    yield twin("fields in another order", None, lambda other: other["message"].update(headers=sorted(other["message"]["headers"], key=lambda pair: pair[0])))
    yield twin("names in lower case", None, lambda other: other["message"].update(headers=[[n.lower(), v] for n, v in other["message"]["headers"]]))
    yield twin("one more field", None, lambda other: other["message"]["headers"].append(["X-Other", "1"]))
    if any(p[0] == "Content-Digest" for p in case["message"]["headers"]):
        yield twin("another body", "Mismatch", lambda other: other["message"].update(body_b64=b64(b"{}")))
        yield twin("no body", "Mismatch", lambda other: other["message"].update(body_b64=""))
    covered = covers("content-digest") and not any("key=" in c for c in components if "content-digest" in c)
    if covered:
        yield twin("another body and its digest", "BadSignature", lambda other: (other["message"].update(body_b64=b64(b"{}")), field("content-digest", lambda v: content_digest(b"{}"))(other)))
        yield twin("without its Content-Digest", "NoField", lambda other: other["message"].update(headers=[p for p in other["message"]["headers"] if p[0] != "Content-Digest"]))
    if covers("date"):
        yield twin("date changed", "BadSignature", field("date", lambda v: v.replace("2021", "2022")))
        yield twin("date with white space around it", None, field("date", lambda v: f" \t{v} "))
        yield twin("date twice", "BadSignature", lambda other: other["message"]["headers"].append(["date", "x"]))
        yield twin("date removed", "NoField", lambda other: other["message"].update(headers=[p for p in other["message"]["headers"] if p[0] != "Date"]))
    if covers("@status"):
        yield twin("status changed", "BadSignature", lambda other: other["message"].update(status=201))
    if covers("@method"):
        yield twin("method changed", "BadSignature", lambda other: other["message"].update(method="PUT"))
        yield twin("method in lower case", "BadSignature", lambda other: other["message"].update(method=other["message"]["method"].lower()))
    if covers("@target-uri"):
        yield twin("target changed", "BadSignature", lambda other: other["message"].update(url=other["message"]["url"] + "x"))
        yield twin("target with a fragment", None, lambda other: other["message"].update(url=other["message"]["url"] + "#x"))
    if covers("@authority"):
        yield twin("host changed", "BadSignature", lambda other: other["message"].update(url="https://evil.example/foo?param=Value&Pet=dog"))
    if "request" in case:
        yield twin("request missing", "NoRequest", lambda other: other.pop("request"))
        yield twin("request of another method", "BadSignature", lambda other: other["request"].update(method="GET"))
        yield twin("request to another place", "BadSignature", lambda other: other["request"].update(url="https://example.com/bar?param=Value&Pet=dog"))
        yield twin("request of another content", "Mismatch", lambda other: other["request"].update(body_b64=b64(b"{}")))


def traps():
    """Signatures that are good, over what may not be signed or said."""
    for alg in ALGS:
        key, across = Key(alg), Key(next(name for name in ALGS if name != alg))

        def case(name, expect, inner, lines, params=None, of=None, key=key, alg=alg, input_text=None, fields=(), **more):
            params = f';created={NOW};keyid="k"' if params is None else params
            described = copy.deepcopy(of or request())
            base = "".join(f"{line}\n" for line in lines) + f'"@signature-params": ({inner}){params}'
            described["headers"] += [list(pair) for pair in fields]
            described["headers"].append(["Signature-Input", input_text or f"s=({inner}){params}"])
            described["headers"].append(["Signature", f"s=:{b64(key.sign(base.encode()))}:"])
            if expect["verdict"] == "accepted":
                expect = accepted({"label": "s", "base": base})
            return {"id": f"{alg} {name}", "message": described, "keys": {"k": key.public}, "now": NOW, **more, "expect": expect}

        good = accepted(None)
        method = ('"@method"', ['"@method": POST'])
        yield case("plain", good, *method)
        yield case("without created", good, *method, ';keyid="k"')
        yield case("without created, where an age is asked for", rejected("MissingParam"), *method, ';keyid="k"', max_age=60)
        yield case("without keyid", rejected("MissingParam"), *method, f";created={NOW}")
        yield case("parameters in any order", good, *method, f';keyid="k";tag="t";nonce="n";expires={NOW + 5};created={NOW}')
        yield case("unknown parameters", good, *method, f';created={NOW};keyid="k";x;y=?0;z=tok;d=1.5;b=:AQ==:')
        yield case("alg as the key's", good, *method, f';created={NOW};keyid="k";alg="{NAMES[alg]}"')
        for name in ("hmac-sha256", "rsa-pss-sha512", "rsa-v1_5-sha256", "ecdsa-p384-sha384", "none", "", "EdDSA", "ED25519", "unknown"):
            yield case(f"alg {name!r}", rejected("AlgNotAllowed"), *method, f';created={NOW};keyid="k";alg="{name}"')
        yield case("alg of the other key", rejected("AlgMismatch"), *method, f';created={NOW};keyid="k";alg="{NAMES[across.alg]}"')
        for name, value in (("alg", "tok"), ("keyid", "7"), ("nonce", "tok"), ("tag", "?1"), ("created", '"1"'), ("created", "1.5"), ("expires", '"1"'), ("created", "?1")):
            rest = f';created={NOW}' if name != "created" else ""
            rest += ';keyid="k"' if name != "keyid" else ""
            yield case(f"{name}={value}", rejected("MalformedParam"), *method, f"{rest};{name}={value}")
        yield case("expired", rejected("Expired"), *method, f';created={NOW - 9};expires={NOW};keyid="k"')
        yield case("expired, no time asked for", good, *method, f';created={NOW - 9};expires={NOW};keyid="k"', now=None)
        yield case("created in the future", rejected("CreatedInFuture"), *method, f';created={NOW + 60};keyid="k"')
        yield case("created in the near future", good, *method, f';created={NOW + 59};keyid="k"')
        yield case("created before 1970", good, *method, ';created=-5;keyid="k"')

        yield case("component twice", rejected("ComponentRepeated"), '"@method" "@method"', ['"@method": POST'] * 2)
        twice = '"example-dict";key="a";sf "example-dict";sf;key="a"'
        yield case("component twice, parameters in another order", rejected("ComponentRepeated"), twice, [f"{c}: 1" for c in twice.split()])
        yield case("component in capitals", rejected("FieldName"), '"Date"', ['"Date": Tue, 20 Apr 2021 02:07:55 GMT'])
        yield case("component with a space", rejected("FieldName"), '"date "', ['"date ": x'])
        yield case("component without a name", rejected("FieldName"), '""', ['"": x'])
        yield case("component as a token", rejected("Malformed"), "date", ['"date": Tue, 20 Apr 2021 02:07:55 GMT'])
        for name in ("@signature-params", "@unknown", "@query-params", "@request-response", "@Method", "@"):
            yield case(f"component {name}", rejected("UnknownDerived"), f'"{name}"', [f'"{name}": x'])
        yield case("unknown component parameter", rejected("UnknownParameter"), '"date";x', ['"date";x: Tue, 20 Apr 2021 02:07:55 GMT'])
        for component, rule in (('"date";sf;bs', "Incompatible"), ('"example-dict";bs;key="a"', "Incompatible"), ('"@method";sf', "Incompatible"), ('"@method";key="a"', "Incompatible"),
                                ('"date";name="a"', "Incompatible"), ('"@query-param"', "QueryParamName"), ('"date";sf=?0', "MalformedParameter"), ('"date";bs="x"', "MalformedParameter"),
                                ('"example-dict";key=a', "MalformedParameter"), ('"@query-param";name=7', "MalformedParameter")):  # fmt: skip
            yield case(f"component {component}", rejected(rule), component, [f"{component}: x"])
        yield case("field that is not there", rejected("NoField"), '"x-none"', ['"x-none": '])
        yield case("member that is not there", rejected("NoMember"), '"example-dict";key="z"', ['"example-dict";key="z": '])
        yield case("member of no dictionary", rejected("NotStructured"), '"date";key="a"', ['"date";key="a": x'])
        yield case("query parameter that is not there", rejected("NoQueryParam"), '"@query-param";name="x"', ['"@query-param";name="x": '])
        doubled = request(url="https://example.com/?a=1&a=2")
        yield case("query parameter twice", rejected("QueryParamRepeated"), '"@query-param";name="a"', ['"@query-param";name="a": 1', '"@query-param";name="a": 2'], of=doubled)
        yield case("trailer where there are none", rejected("NoField"), '"date";tr', ['"date";tr: x'])
        yield case("req in a request", rejected("ReqInRequest"), '"@method";req', ['"@method";req: POST'])
        yield case("status of a request", rejected("StatusOfRequest"), '"@status"', ['"@status": 200'])
        yield case("method of a response", rejected("NeedsReq"), *method, of=response())
        yield case("method of a response, request at hand", rejected("NeedsReq"), *method, of=response(), request=request())
        yield case("req without a request", rejected("NoRequest"), '"@method";req', ['"@method";req: POST'], of=response())
        yield case("status of the request", rejected("Incompatible"), '"@status";req', ['"@status";req: 200'], of=response(), request=request())

        for name, text in (("no dictionary", "s=("), ("not ASCII", 's=("date");x="\u00fc"'), ("a comma too many", 's=("@method"),')):
            yield case(f"Signature-Input {name}", rejected("MalformedField"), *method, input_text=text)
        yield case("Signature-Input empty", rejected("MissingField"), *method, input_text=" ")
        yield case("member that is no inner list", rejected("Malformed"), *method, input_text="s=7")
        bad = case("signature as text", rejected("Malformed"), *method)
        bad["message"]["headers"][-1][1] = 's="AAAA"'
        yield bad
        bad = case("another label asked for", rejected("NoSuchLabel"), *method, label="t")
        yield bad
        many = ", ".join(f'l{n}=("@method");keyid="x"' for n in range(17))
        yield case("too many labels", rejected("TooManyLabels"), *method, input_text=many)
        line = case("line end in a field", rejected("ControlCharacter"), '"x-evil"', ['"x-evil": a', '"@method": GET'], fields=[["X-Evil", 'a\n"@method": GET']])
        yield line
        yield case("NUL in a field", rejected("ControlCharacter"), '"x-evil"', ['"x-evil": a\0'], fields=[["X-Evil", "a\0"]])
        yield case("field not in ASCII", rejected("NotAscii"), '"x-uml"', ['"x-uml": \u00fc'], fields=[["X-Uml", "\u00fc"]])

        digest = '"content-digest"'
        without = [pair for pair in FIELDS if pair[0] != "Content-Digest"]
        for name, value, rule in (
            ("of no algorithm known", f"md5=:{b64(hashlib.md5(BODY).digest())}:", "NoKnownAlgorithm"), ("as hex", f"sha-256={hashlib.sha256(BODY).hexdigest()}", "Malformed"),
            ("of a wrong length", "sha-256=:AAAA:", "Malformed"), ("no dictionary", "sha-256", "Malformed"), ("one right, one wrong", f"{content_digest(BODY)}, {content_digest(b'x', 'sha-512')}", "Mismatch"),
            ("of something else", content_digest(b"x"), "Mismatch"), ("in capitals", content_digest(BODY).replace("sha", "SHA"), "Malformed"),
        ):  # fmt: skip
            yield case(f"Content-Digest {name}", rejected(rule), digest, [f"{digest}: {value}"], of=request(headers=[*without, ["Content-Digest", value]]))
        value = f"unixsum=30637, {content_digest(BODY)}"
        yield case("Content-Digest with another beside it", good, digest, [f"{digest}: {value}"], of=request(headers=[*without, ["Content-Digest", value]]))
        yield case("Content-Digest not covered and wrong", rejected("Mismatch"), *method, of=request(headers=[*without, ["Content-Digest", content_digest(b"x")]]))
        yield case("no Content-Digest", good, *method, of=request(headers=without))

        for url in ("/foo", "example.com/foo", "ftp://example.com/", "https://u@example.com/", "https://example.com/a b", ""):
            yield case(f"target {url!r}", rejected("TargetUri"), *method, of=request(url=url))
        yield case("method no token", rejected("Method"), *method, of=request(method="P OST"))


def verify(case):
    keys = {}
    for keyid, jwk in case["keys"].items():
        keys[keyid] = JWK(**jwk).get_op_key("verify")
        alg = "EdDSA" if jwk["kty"] == "OKP" else "ES256"
    resolver = MappingKeyResolver(public_keys=keys, private_keys={})
    verifier = HTTPMessageVerifier(signature_algorithm=LIBRARY[alg], key_resolver=resolver)
    target = message(case["message"], case.get("request"))
    body = base64.b64decode(case["message"]["body_b64"]) if '"content-digest": ' in case["value"]["base"] else None
    [result] = verifier.verify(target, max_age=datetime.timedelta(seconds=60), body=body)
    base = "\n".join(f"{identifier}: {value}" for identifier, value in result.covered_components.items())
    return base == case["value"]["base"]


def main():
    count = Count("http-message-signatures")
    count.they_sign("http-sig", [*signed(), *traps()])
    count.we_sign("http-sig", verify)
    count.finish()


main()
