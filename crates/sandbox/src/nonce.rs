//! The DPoP nonces that one server gives out and takes back (RFC 9449 §8, §9).

use std::collections::VecDeque;

use dpop::Nonce;
use jose::{Rng, UnixSeconds};

/// A server's current nonce and the ones before it that are still good. A nonce is given out for 30 s and is refused
/// from the 90th second after it was made.
#[derive(Default)]
pub(crate) struct NonceRing(VecDeque<(Nonce, UnixSeconds)>);

impl NonceRing {
    /// The nonce to give out now.
    pub(crate) fn current(&mut self, now: UnixSeconds, rng: &dyn Rng) -> Nonce {
        self.drop_aged(now);
        match self.0.back() {
            // A clock that was set back makes a nonce from the future; it is not given out again.
            Some((nonce, made)) if (0..GIVEN_OUT_SECONDS).contains(&(now - made)) => nonce.clone(),
            _ => {
                let nonce = Nonce::generate(rng);
                self.0.push_back((nonce.clone(), now));
                if self.0.len() > MAX_NONCES {
                    self.0.pop_front();
                }
                nonce
            }
        }
    }

    /// The nonces that a proof may have now.
    pub(crate) fn accepted(&mut self, now: UnixSeconds) -> Vec<Nonce> {
        self.drop_aged(now);
        self.0.iter().map(|(nonce, _)| nonce.clone()).collect()
    }

    fn drop_aged(&mut self, now: UnixSeconds) {
        self.0.retain(|(_, made)| now - made < LIFETIME_SECONDS);
    }
}

const GIVEN_OUT_SECONDS: UnixSeconds = 30;
const LIFETIME_SECONDS: UnixSeconds = 90;
const MAX_NONCES: usize = 8;
