//! SD-JWTs and presentations.

use jose::{Alg, PrivateKey, Signer as _, TokenHeader, random_token};
use sd_jwt::{ClaimPath, HeldSdJwt, Issuance, KeyBinder};
use serde_json::{Map, Value, json};

use super::bench::{ALGS, Bench};

pub(super) fn cases(bench: &Bench) -> anyhow::Result<Vec<Value>> {
    let mut cases = Vec::new();
    for issuer in ALGS {
        for holder in ALGS {
            cases.extend(Set::new(bench, issuer, holder).cases(bench)?);
        }
    }
    Ok(cases)
}

/// One issuer, one holder, and everything that the one says of the other.
struct Set {
    issuer: PrivateKey,
    holder: PrivateKey,
    claims: Map<String, Value>,
}

impl Set {
    fn new(bench: &Bench, issuer: Alg, holder: Alg) -> Self {
        let (issuer, holder) = (bench.key(issuer), bench.key(holder));
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), "https://issuer.example".into());
        claims.insert("iat".to_owned(), bench.now.into());
        claims.insert("exp".to_owned(), (bench.now + 3600).into());
        claims.insert("vct".to_owned(), "https://issuer.example/person".into());
        claims.insert("cnf".to_owned(), json!({ "jwk": holder.public_key().to_jwk() }));
        claims.insert("given_name".to_owned(), "Zo\u{eb} \u{1f600}".into());
        claims.insert("address".to_owned(), json!({ "locality": "Bern", "country": "CH", "lines": ["a", "b"] }));
        claims.insert("nationalities".to_owned(), json!(["CH", "DE", { "code": "FR" }]));
        claims.insert("updated_at".to_owned(), 1.5.into());
        Self { issuer, holder, claims }
    }

    fn cases(&self, bench: &Bench) -> anyhow::Result<Vec<Value>> {
        let flat = ["given_name", "address", "nationalities", "updated_at"].map(ClaimPath::from);
        let structured = [ClaimPath::from(["address", "locality"]), ClaimPath::from(["address", "lines"]).element(0)];
        let recursive = [
            ClaimPath::from("address"),
            ClaimPath::from(["address", "country"]),
            ClaimPath::from(["address", "lines"]).element(1),
            ClaimPath::from("nationalities"),
            ClaimPath::from("nationalities").element(0),
            ClaimPath::from("nationalities").element(2),
        ];
        let mut cases = Vec::new();
        for (name, disclosable, decoys) in
            [("nothing", &[][..], 0), ("flat", &flat, 0), ("structured", &structured, 3), ("recursive", &recursive, 2)]
        {
            let mut issuance = Issuance::new(self.claims.clone()).decoys(ClaimPath::root(), decoys);
            for path in disclosable {
                issuance = issuance.disclosable(path.clone());
            }
            if decoys > 0 && name == "structured" {
                issuance = issuance.decoys("address", decoys).decoys("nationalities", decoys);
            }
            let token = issuance.sign(&self.issuer, &TokenHeader::new("dc+sd-jwt").kid("i1"), &bench.rng)?;
            let held = HeldSdJwt::parse(token)?;
            for (shown, paths) in [("everything", disclosable), ("a part", &disclosable[..disclosable.len() / 2])] {
                let hidden = disclosable.iter().filter(|path| !paths.contains(path));
                let value = without(&self.claims, &hidden.collect::<Vec<_>>());
                let selection = held.select(paths)?;
                let algs = format!("{}/{}", self.issuer.public_key().alg(), self.holder.public_key().alg());
                let mut case = json!({
                    "id": format!("{algs} {name}, showing {shown}"),
                    "token": selection.as_str(),
                    "issuer_jwk": self.issuer.public_key().to_jwk(),
                    "now": bench.now,
                    "typ": ["dc+sd-jwt"],
                    "vc": true,
                    "value": value,
                });
                cases.push(case.clone());

                let nonce = random_token::<16>(&bench.rng);
                let aud = "https://verifier.example";
                case["token"] = KeyBinder::new(&self.holder).bind(selection, aud, &nonce, bench.now)?.into();
                case["kb"] = json!({ "aud": aud, "nonce": nonce, "max_age": 60 });
                case["id"] = format!("{algs} {name}, showing {shown}, bound").into();
                cases.push(case);
            }
        }
        Ok(cases)
    }
}

/// The claims as a verifier sees them who was shown all but these.
fn without(claims: &Map<String, Value>, hidden: &[&ClaimPath]) -> Value {
    fn keep(value: &Value, here: &ClaimPath, hidden: &[&ClaimPath]) -> Option<Value> {
        if hidden.contains(&here) {
            return None;
        }
        Some(match value {
            Value::Object(map) => {
                let member =
                    |(name, value)| Some((String::clone(name), keep(value, &here.clone().member(name), hidden)?));
                Value::Object(map.iter().filter_map(member).collect())
            }
            Value::Array(items) => {
                let element = |(at, item)| keep(item, &here.clone().element(at), hidden);
                Value::Array(items.iter().enumerate().filter_map(element).collect())
            }
            other => other.clone(),
        })
    }
    keep(&Value::Object(claims.clone()), &ClaimPath::root(), hidden).unwrap_or_default()
}
