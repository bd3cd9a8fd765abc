//! DPoP proofs.

use std::sync::Arc;

use dpop::{Htu, Minter, Nonce, ProofRequest};
use jose::random_token;
use serde_json::{Value, json};

use super::bench::{ALGS, Bench};

pub(super) fn cases(bench: &Bench) -> anyhow::Result<Vec<Value>> {
    let mut cases = Vec::new();
    for alg in ALGS {
        let minter = Minter::new(Arc::new(bench.key(alg)));
        let access_token = random_token::<32>(&bench.rng);
        let nonce = Nonce::generate(&bench.rng);
        for (name, method, url, token, nonce) in [
            ("token request", "POST", "https://as.example/token", None, None),
            ("token request with nonce", "POST", "https://as.example/token", None, Some(&nonce)),
            ("resource", "GET", "https://rs.example:8443/orders/7?expand=lines#top", Some(&access_token), None),
            ("resource with nonce", "PUT", "HTTPS://RS.example:443/a%20b", Some(&access_token), Some(&nonce)),
        ] {
            let htu = Htu::parse(url)?;
            let mut request = ProofRequest::new(method, &htu, bench.now);
            if let Some(token) = token {
                request = request.access_token(token);
            }
            if let Some(nonce) = nonce {
                request = request.nonce(nonce);
            }
            cases.push(json!({
                "id": format!("{alg} {name}"),
                "proof": minter.mint(&request, &bench.rng)?.expose(),
                "method": method,
                "url": url,
                "now": bench.now,
                "window": 60,
                "jkt": minter.jkt(),
                "access_token": token,
                "nonce": nonce.map(Nonce::as_str),
            }));
        }
    }
    Ok(cases)
}
