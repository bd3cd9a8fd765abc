//! Our clock against the authorization server's. A clock that is ahead puts times on record that have not come yet: budgets,
//! approvals and proofs would be wrong for as long as it is.

mod server;

use std::sync::PoisonError;
use std::time::Instant;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jose::UnixSeconds;

use self::server::Seen;
use crate::send::Answer;
use crate::{Client, Endpoint, Error, LocalError};

pub(crate) use self::server::ServerClock;

impl Client {
    /// By how many seconds this machine's clock is ahead of the authorization server's, by the `Date` of its newest answer
    /// (RFC 9110 §6.6.1); less than 0 if it is behind, by less than that if the answer took its time. `None` before the
    /// first answer, and at a server that sends no `Date`.
    #[must_use]
    pub fn clock_skew(&self) -> Option<i64> {
        self.seen().map(|Seen { ours, theirs, .. }| ours.saturating_sub(theirs))
    }

    /// Refuses a clock that is more than five minutes ahead, as far as that is known. Nothing is sent.
    ///
    /// # Errors
    ///
    /// - [`LocalError::ClockAhead`] if it is.
    pub fn check_clock(&self) -> Result<(), Error> {
        match self.seen() {
            Some(Seen { ours, theirs, .. }) if ours.saturating_sub(theirs) > MOST_AHEAD_SECONDS => {
                let in_words = |at| Timestamp::from_second(at).unwrap_or_default().to_string();
                Err(LocalError::ClockAhead { local: in_words(ours), server: in_words(theirs) }.into())
            }
            _ => Ok(()),
        }
    }

    /// The same, after the server's metadata was read, where its clock is not known yet, was found to be behind ours, or ours
    /// was set since. A server that cannot be reached says nothing about a clock.
    ///
    /// # Errors
    ///
    /// - [`LocalError::ClockAhead`] if the clock is ahead.
    pub async fn compare_clocks(&self) -> Result<(), Error> {
        let asked = match self.seen() {
            // What is read is kept, and not read again by what comes next.
            None => self.metadata().await.map(drop),
            Some(seen) if self.check_clock().is_err() || seen.is_out_of_date(self.now()) => {
                self.fetch_metadata().await.map(drop)
            }
            Some(_) => Ok(()),
        };
        if let Err(error) = asked {
            tracing::debug!(%error, "the authorization server's clock is not known");
        }
        self.check_clock()
    }

    /// Remembers what time an answer of the authorization server has.
    pub(crate) fn see_clock(&self, endpoint: &Endpoint, sent_at: UnixSeconds, answer: &Answer) {
        let inner = &self.inner;
        let origin = endpoint.origin();
        if origin != inner.issuer.origin() && !inner.endpoint_origins.contains(origin) {
            return;
        }
        let Some(date) = answer.header("date").and_then(parse) else { return };
        // A cache on the way hands on the date of the original (RFC 9111 §5.1).
        let age = answer.header("age").and_then(|age| age.trim().parse::<u32>().ok()).unwrap_or(0);
        let seen = Seen { ours: sent_at, theirs: date.saturating_add(age.into()), at: instant() };
        *inner.server_clock.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    fn seen(&self) -> Option<Seen> {
        *self.inner.server_clock.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::disallowed_methods, reason = "whether the clock was set can only be told by one that cannot be")]
fn instant() -> Instant {
    Instant::now()
}

/// An HTTP-date in any of its three forms (RFC 9110 §5.6.7).
fn parse(text: &str) -> Option<UnixSeconds> {
    let of = |format: &str| DateTime::strptime(format, text).ok()?.to_zoned(TimeZone::UTC).ok();
    let parsed =
        ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"].into_iter().find_map(of)?;
    Some(parsed.timestamp().as_second())
}

/// Every proof is good for a shorter time, so a clock that is this far ahead is wrong by anyone's measure.
const MOST_AHEAD_SECONDS: i64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_in_each_of_its_three_forms() {
        let forms = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
        for text in forms {
            assert_eq!(parse(text), Some(784_111_777), "{text}");
        }
        for text in
            ["", "now", "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37 +0100", "Sun, 31 Feb 1994 08:49:37 GMT"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
