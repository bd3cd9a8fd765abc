//! A server's side: reads requests as the example `client` prints them and says what it would answer.
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

use std::time::{SystemTime, UNIX_EPOCH};

use dpop::{Htu, MemoryReplayStore, Nonce, ProofCheck, ReplayStore};
use jose::Clock;

#[expect(clippy::disallowed_methods, reason = "an application has to get the time somewhere")]
fn system_clock() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs() as i64)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let nonce = Nonce::parse(&std::env::args().nth(1).ok_or("expected this server's nonce as the argument")?)?;
    let replays = MemoryReplayStore::new(100_000);

    for line in std::io::read_to_string(std::io::stdin())?.lines() {
        let [method, url, proof] = line.split(' ').collect::<Vec<_>>()[..] else { return Err("malformed line".into()) };
        println!("{}", answer(method, url, proof, &nonce, &replays, &system_clock)?);
    }
    Ok(())
}

/// `url` is the URI under which clients know this server, put together from its own configuration and the request's path.
fn answer(
    method: &str,
    url: &str,
    proof: &str,
    nonce: &Nonce,
    replays: &dyn ReplayStore,
    clock: &dyn Clock,
) -> Result<String, dpop::InvalidHtu> {
    let (htu, now) = (Htu::parse(url)?, clock.now());
    let verified = match ProofCheck::new(method, &htu, now).nonce(nonce).verify(proof) {
        Ok(verified) => verified,
        Err(error) => return Ok(format!("400 {} ({error}), DPoP-Nonce: {}", error.oauth_error(), nonce.as_str())),
    };
    // Last of all: only a proof that is good in every other way is recorded.
    Ok(match verified.spend(replays, now) {
        Ok(()) => format!("200, token bound to {}", verified.jkt()),
        Err(error) => format!("400 invalid_dpop_proof ({error})"),
    })
}
