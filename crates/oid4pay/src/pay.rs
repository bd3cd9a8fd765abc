//! Where guard and client meet: every payment, in whatever way it was asked for, is one [`run`].
//!
//! The guard's ledger knows whether a purchase is new, under way or paid; the client knows the protocol. Between them
//! stands a [`Journal`](oid4ac_client::Journal) that writes each step into the ledger before the next octet leaves. Where the
//! guard or the authorization server requires a human, the question goes out as the caller's client can put it (`ask`).

mod ask;
mod call;
mod cheapest;
mod clock;
mod journal;
mod pick;
mod refused;
mod run;
mod signatures;

pub use self::call::{Answer, Call, Place, Ran, Work};
pub use self::cheapest::{Cheapest, Disqualified, OrderFor, Picked, chosen};
pub use self::refused::{other_key, rejected};
pub use self::run::{run, simulate, with_agent};
pub use self::signatures::Signatures;
