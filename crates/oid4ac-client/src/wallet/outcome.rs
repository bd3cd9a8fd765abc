//! What became of a presented mandate, by the principal's audit chain.

use core::fmt;

use jiff::Timestamp;
use jose::UnixSeconds;
use serde_json::Value;

use super::audit::{DISPUTED, MAX_PAGE, MAX_PAGES, SUCCEEDED};
use super::{AuditEntry, AuditQuery, ChainReport, Granted, HeadVerdict, PrincipalToken};
use crate::untrusted;
use crate::{Client, Error};

/// A mandate that was presented, as it was verified when it was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the caller fills it from the verified mandate")]
pub struct PresentedTerms {
    /// Its id.
    pub mandate_id: String,
    /// The merchant's origin.
    pub merchant: String,
    /// The currency, ISO 4217.
    pub currency: String,
    /// Its cap, in minor units.
    pub cap_minor: u64,
    /// Its `exp`.
    pub expires_at: UnixSeconds,
    /// A time before it was issued, by a clock that is about the authorization server's.
    pub issued_after: UnixSeconds,
}

/// What the chain says of a mandate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "paid, not paid, or neither is known")]
pub enum MandateOutcome {
    /// It was paid, once.
    Paid {
        /// How much, in minor units.
        amount_minor: u64,
        /// The merchant's id of the payment.
        payment_intent_id: String,
        /// The number of the entry that says so.
        seq: u64,
        /// Its hash.
        entry_hash: String,
    },
    /// It ended, and was not paid.
    NotPaid {
        /// The number of the signed head up to which no entry says otherwise.
        seq: u64,
        /// Its hash.
        entry_hash: String,
    },
    /// The chain does not decide it.
    Undecided(Undecided),
}

/// Why the chain does not decide what became of a mandate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Undecided {
    /// Hashes or links of the entries are wrong: the chain was changed.
    Broken,
    /// The chain's head is not signed.
    Unsigned,
    /// The signed head does not hold.
    HeadInvalid,
    /// Entries are missing between the ones that decide and the signed head, or cannot be checked.
    Gap,
    /// The entry about the payment is newer than the signed head.
    NotSignedYet,
    /// There are more entries than are read at once.
    TooMany,
    /// More than one payment was made under the mandate.
    SeveralPayments,
    /// The entry about the payment is about something else: `merchant`, `currency`, `amount` or `payment_intent_id`.
    Differs(&'static str),
    /// No payment is there, but a dispute about one.
    Disputed,
    /// The entry about the mandate's issue is not there, so that what followed may be missing as well.
    IssueMissing,
    /// No payment is there, but one may still be reported until this time.
    NotUntil(UnixSeconds),
}

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "hashes or links of its entries are wrong",
            Self::Unsigned => "its head is not signed",
            Self::HeadInvalid => "its signed head does not hold",
            Self::Gap => "entries are missing from it, or cannot be checked",
            Self::NotSignedYet => "the entry about the payment is newer than the signed head; ask again in an hour",
            Self::TooMany => "it has too many entries since then",
            Self::SeveralPayments => "it has more than one payment under this mandate",
            Self::Differs(what) => return write!(f, "the payment that it has differs in {what}"),
            Self::Disputed => "it has a dispute about a payment, and not the payment",
            Self::IssueMissing => "it does not have the issue of this mandate",
            Self::NotUntil(at) => {
                let at = Timestamp::from_second(*at).unwrap_or_default();
                return write!(f, "it has no payment, but one may still be reported: a head signed after {at} decides");
            }
        })
    }
}

impl Client {
    /// Reads the principal's audit chain (scope `audit:read`) from the time the mandate was issued until now, and says what
    /// became of it.
    ///
    /// "Paid" takes one `oid4ac.payment.succeeded` under the mandate that fits its terms; "not paid" takes the chain from
    /// the mandate's issue on, without one, under a head that was signed a day after the mandate had ended. Either way the
    /// head is signed, and every entry from there up to it is present, hashed and linked.
    ///
    /// # Errors
    ///
    /// - as for [`Client::audit_entries`].
    pub async fn mandate_outcome(
        &self,
        terms: &PresentedTerms,
        token: &PrincipalToken,
    ) -> Result<Granted<MandateOutcome>, Error> {
        let mut query = AuditQuery {
            from: Timestamp::from_second(terms.issued_after).ok().map(|at| at.to_string()),
            limit: Some(MAX_PAGE),
            ..AuditQuery::default()
        };
        let (mut entries, mut chain) = (Vec::new(), ChainReport::default());
        for _ in 0..MAX_PAGES {
            let page = match self.audit_entries(&query, token).await?.done() {
                Ok(page) => page,
                Err(other) => return Ok(other),
            };
            entries.extend(page.entries);
            chain.add(page.chain);
            query.cursor = page.next;
            if query.cursor.is_none() {
                let is_whole = !page.has_more && page.skipped_at.is_none();
                let undecided = MandateOutcome::Undecided(Undecided::Gap);
                return Ok(Granted::Done(if is_whole { judge(terms, &entries, &chain) } else { undecided }));
            }
        }
        Ok(Granted::Done(MandateOutcome::Undecided(Undecided::TooMany)))
    }
}

/// The decision. `entries` are newest first, and `chain` is what was found about them.
fn judge(terms: &PresentedTerms, entries: &[AuditEntry], chain: &ChainReport) -> MandateOutcome {
    decide(terms, entries, chain).unwrap_or_else(MandateOutcome::Undecided)
}

fn decide(terms: &PresentedTerms, entries: &[AuditEntry], chain: &ChainReport) -> Result<MandateOutcome, Undecided> {
    let (head_seq, signed_at) = match &chain.head {
        HeadVerdict::Absent => return Err(Undecided::Unsigned),
        HeadVerdict::Invalid { .. } => return Err(Undecided::HeadInvalid),
        HeadVerdict::Verified { compared: false, .. } => return Err(Undecided::Gap),
        HeadVerdict::Verified { head_seq, signed_at, .. } => (*head_seq, *signed_at),
    };
    if !chain.is_intact() {
        return Err(Undecided::Broken);
    }
    let about = |entry: &&AuditEntry| text(entry, "mandate_id") == Some(&terms.mandate_id);
    let of = |event: &'static str| entries.iter().filter(about).filter(move |entry| entry.event == event);
    let issue = of(ISSUED).next_back();
    let mut payments = of(SUCCEEDED);
    let payment = payments.next();
    if payments.next().is_some() {
        return Err(Undecided::SeveralPayments);
    }
    // An earlier payment would stand between the mandate's issue and this one.
    let Some(first) = issue.into_iter().chain(payment).map(|entry| entry.seq).min() else {
        return Err(Undecided::IssueMissing);
    };
    if let Some(payment) = payment {
        let paid = paid(terms, payment)?;
        if payment.seq > head_seq {
            return Err(Undecided::NotSignedYet);
        }
        covered(first, head_seq, entries, chain)?;
        return Ok(paid);
    }
    if of(DISPUTED).next().is_some() {
        return Err(Undecided::Disputed);
    }
    if issue.is_none() {
        return Err(Undecided::IssueMissing);
    }
    covered(first, head_seq, entries, chain)?;
    let revoked = of(REVOKED).filter(|entry| entry.seq <= head_seq).filter_map(|entry| seconds(&entry.ts)).min();
    let ended = revoked.map_or(terms.expires_at, |at| terms.expires_at.min(at.saturating_add(STATUS_SECONDS)));
    let decided_at = ended.saturating_add(REPORT_SECONDS);
    if signed_at < decided_at {
        return Err(Undecided::NotUntil(decided_at));
    }
    let head = entries.iter().find(|entry| entry.seq == head_seq).ok_or(Undecided::Gap)?;
    Ok(MandateOutcome::NotPaid { seq: head_seq, entry_hash: head.entry_hash.clone() })
}

/// The payment that an entry is about, if it can be one under the mandate.
fn paid(terms: &PresentedTerms, entry: &AuditEntry) -> Result<MandateOutcome, Undecided> {
    if text(entry, "merchant_audience") != Some(&terms.merchant) {
        return Err(Undecided::Differs("merchant"));
    }
    if text(entry, "currency") != Some(&terms.currency) {
        return Err(Undecided::Differs("currency"));
    }
    let amount_minor = entry.payload.get("amount_minor").and_then(Value::as_u64);
    let amount_minor = amount_minor.filter(|minor| (1..=terms.cap_minor).contains(minor));
    let id = text(entry, "payment_intent_id").filter(|id| untrusted::is_identifier(id));
    Ok(MandateOutcome::Paid {
        amount_minor: amount_minor.ok_or(Undecided::Differs("amount"))?,
        payment_intent_id: id.ok_or(Undecided::Differs("payment_intent_id"))?.to_owned(),
        seq: entry.seq,
        entry_hash: entry.entry_hash.clone(),
    })
}

/// Whether every entry from `first` up to the head is here, with its hash and the link to the one before. Pages are linked
/// only where the server repeats the last entry of the one before, so the links are counted.
fn covered(first: u64, head_seq: u64, entries: &[AuditEntry], chain: &ChainReport) -> Result<(), Undecided> {
    // They descend, so their number tells that none is missing.
    let here = entries.iter().filter(|entry| (first..=head_seq).contains(&entry.seq)).count();
    let wanted = head_seq.checked_sub(first).and_then(|more| more.checked_add(1));
    let is_whole = wanted == u64::try_from(here).ok();
    let pairs = entries.windows(2).filter(|pair| pair[0].seq == pair[1].seq + 1).count();
    let links = pairs + usize::from(entries.last().is_some_and(|entry| entry.seq == 1));
    let is_linked = u64::try_from(links).is_ok_and(|links| links == chain.links_verified);
    match is_whole && is_linked && chain.head_covers(first) {
        true => Ok(()),
        false => Err(Undecided::Gap),
    }
}

fn text<'a>(entry: &'a AuditEntry, name: &str) -> Option<&'a str> {
    entry.payload.get(name).and_then(Value::as_str)
}

fn seconds(ts: &str) -> Option<UnixSeconds> {
    ts.parse().ok().map(Timestamp::as_second)
}

const ISSUED: &str = "oid4ac.mandate.issued";
const REVOKED: &str = "oid4ac.token.revoked";
/// How long a merchant may take a revoked mandate for a live one: a status list is at most 420 seconds old when it is
/// fetched, and is used for at most 300.
const STATUS_SECONDS: UnixSeconds = 720;
/// How long a payment may take to be reported. The protocol has no limit; what is settled once a day is reported within one.
const REPORT_SECONDS: UnixSeconds = 24 * 3600;

#[cfg(test)]
mod tests {
    use jose::{Alg, JwkSet, PrivateKey, Signer as _, TokenHeader, base64url, sha256, sign_compact};
    use serde_json::{Map, json};

    use super::*;
    use crate::SystemRng;

    const START: i64 = 1_790_000_000;
    const EXP: i64 = START + 900;
    const LATE: i64 = EXP + REPORT_SECONDS;

    fn terms() -> PresentedTerms {
        PresentedTerms {
            mandate_id: "mandate_1".to_owned(),
            merchant: "https://shop.example".to_owned(),
            currency: "EUR".to_owned(),
            cap_minor: 6000,
            expires_at: EXP,
            issued_after: START - 300,
        }
    }

    /// A chain that a test tampers with, oldest first.
    struct Chain {
        entries: Vec<Map<String, Value>>,
        key: PrivateKey,
    }

    impl Chain {
        fn new(events: &[(&str, Value)]) -> Self {
            let mut chain = Self { entries: Vec::new(), key: PrivateKey::generate(Alg::EdDsa, &SystemRng) };
            // Not from the chain's first entry on, which is far back.
            let mut prev_hash = base64url::encode(&[7; 32]);
            for (seq, (event, payload)) in (41u64..).zip(events) {
                let Value::Object(mut entry) = json!({
                    "v": 1, "seq": seq, "prev_hash": prev_hash, "tenant_id": "t", "event": event, "payload": payload,
                    "ts": Timestamp::from_second(START + i64::try_from(seq).unwrap()).unwrap().to_string(),
                }) else {
                    unreachable!()
                };
                prev_hash = hash(&entry);
                entry.insert("entry_hash".to_owned(), prev_hash.clone().into());
                chain.entries.push(entry);
            }
            chain
        }

        fn judge(&self, head_seq: Option<u64>, signed_at: i64) -> MandateOutcome {
            self.judge_with(head_seq, signed_at, "audit-head")
        }

        fn judge_with(&self, head_seq: Option<u64>, signed_at: i64, usage: &str) -> MandateOutcome {
            let kid = "head-key";
            let mut jwk = serde_json::to_value(self.key.public_key().to_jwk().with_kid(kid)).unwrap();
            jwk["oid4ac_use"] = usage.into();
            let keys = JwkSet::parse(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
            let newest_first: Vec<_> = self.entries.iter().rev().collect();
            let mut page = json!({"entries": newest_first, "has_more": false});
            if let Some(seq) = head_seq {
                let named = self.entries.iter().find(|entry| entry["seq"] == seq);
                let head = json!({
                    "v": 1, "tenant_id": "t", "head_seq": seq, "signer_kid": kid, "signed_at": signed_at,
                    "head_entry_hash": named.map_or(json!("x"), |entry| entry["entry_hash"].clone()),
                });
                let header = TokenHeader::new("oid4ac-audit-head+jwt").kid(kid);
                page["chain_head"] = sign_compact(&self.key, &header, head.to_string().as_bytes()).unwrap().into();
            }
            let (report, entries) = ChainReport::and_entries(page.to_string().as_bytes(), &keys).unwrap();
            judge(&terms(), &entries, &report)
        }
    }

    fn hash(entry: &Map<String, Value>) -> String {
        base64url::encode(&sha256(&serde_json_canonicalizer::to_vec(entry).unwrap()))
    }

    fn issued() -> (&'static str, Value) {
        (ISSUED, json!({"mandate_id": "mandate_1"}))
    }

    fn other() -> (&'static str, Value) {
        (
            SUCCEEDED,
            json!({"mandate_id": "mandate_2", "payment_intent_id": "pi_2", "amount_minor": 5, "currency": "EUR"}),
        )
    }

    fn payment() -> Value {
        json!({
            "mandate_id": "mandate_1", "payment_intent_id": "pi_1", "amount_minor": 1299, "currency": "EUR",
            "merchant_audience": "https://shop.example",
        })
    }

    fn revoked() -> (&'static str, Value) {
        (REVOKED, json!({"mandate_id": "mandate_1", "reason": "client"}))
    }

    fn paid_at(chain: &Chain, seq: u64) -> MandateOutcome {
        let entry_hash = chain.entries.iter().find(|entry| entry["seq"] == seq).unwrap()["entry_hash"].clone();
        MandateOutcome::Paid {
            amount_minor: 1299,
            payment_intent_id: "pi_1".to_owned(),
            seq,
            entry_hash: entry_hash.as_str().unwrap().to_owned(),
        }
    }

    #[test]
    fn one_payment_that_fits_under_a_signed_head_is_paid() {
        let chain = Chain::new(&[issued(), other(), (SUCCEEDED, payment()), other()]);
        for head in [43, 44] {
            assert_eq!(chain.judge(Some(head), START + 60), paid_at(&chain, 43));
        }
        // Where the server does not tell of the issue, the payment is enough.
        let chain = Chain::new(&[other(), (SUCCEEDED, payment())]);
        assert_eq!(chain.judge(Some(42), START), paid_at(&chain, 42));
    }

    #[test]
    fn no_payment_a_day_after_the_end_is_not_paid_and_no_sooner() {
        let expired = Chain::new(&[other(), issued(), other(), other()]);
        let not_paid = |chain: &Chain, seq: usize| MandateOutcome::NotPaid {
            seq: u64::try_from(seq).unwrap(),
            entry_hash: chain.entries[seq - 41]["entry_hash"].as_str().unwrap().to_owned(),
        };
        assert_eq!(expired.judge(Some(44), LATE), not_paid(&expired, 44));
        let too_early = MandateOutcome::Undecided(Undecided::NotUntil(LATE));
        assert_eq!(expired.judge(Some(44), LATE - 1), too_early);
        // Revoked before it would have expired, it ends sooner; a merchant's copy of the status list may be old.
        let ended = Chain::new(&[issued(), revoked(), other()]);
        let sooner = START + 42 + STATUS_SECONDS + REPORT_SECONDS;
        assert_eq!(ended.judge(Some(43), sooner), not_paid(&ended, 43));
        assert_eq!(ended.judge(Some(43), sooner - 1), MandateOutcome::Undecided(Undecided::NotUntil(sooner)));
        // A revocation that is not signed for is none.
        assert_eq!(ended.judge(Some(41), sooner), too_early);
    }

    #[test]
    fn nothing_else_decides() {
        let with = |name: &str, value: Value| {
            let mut payment = payment();
            payment[name] = value;
            Chain::new(&[issued(), (SUCCEEDED, payment)])
        };
        let without = |mut chain: Chain, seq: u64| {
            chain.entries.retain(|entry| entry["seq"] != seq);
            chain
        };
        let plain = || Chain::new(&[issued(), (SUCCEEDED, payment()), other(), other()]);
        let tampered = {
            let mut chain = plain();
            chain.entries[1]["payload"]["amount_minor"] = 1.into();
            chain
        };
        let rehashed = {
            let mut chain = plain();
            chain.entries[1]["payload"]["amount_minor"] = 1.into();
            chain.entries[1].remove("entry_hash");
            let hash = hash(&chain.entries[1]);
            chain.entries[1].insert("entry_hash".to_owned(), hash.into());
            chain
        };
        let unhashed = {
            let mut chain = plain();
            chain.entries[2].insert("ts_monotonic_ns".to_owned(), 9_007_199_254_740_993_u64.into());
            chain
        };
        let unpaid = || Chain::new(&[other(), issued(), other(), other()]);
        let twice = Chain::new(&[issued(), (SUCCEEDED, payment()), (SUCCEEDED, payment())]);
        let disputed = Chain::new(&[issued(), (DISPUTED, payment())]);
        let cases = [
            ("a tampered entry", tampered, Some(44), Undecided::Broken),
            ("a tampered and rehashed entry", rehashed, Some(44), Undecided::Broken),
            ("an entry without a canonical form", unhashed, Some(44), Undecided::Gap),
            ("no signed head", plain(), None, Undecided::Unsigned),
            ("no signed head, nothing paid", unpaid(), None, Undecided::Unsigned),
            ("a head whose entry is not here", plain(), Some(99), Undecided::Gap),
            ("a payment newer than the head", plain(), Some(41), Undecided::NotSignedYet),
            ("a gap between payment and head", without(plain(), 43), Some(44), Undecided::Gap),
            (
                "a gap between issue and payment",
                without(Chain::new(&[issued(), other(), (SUCCEEDED, payment())]), 42),
                Some(43),
                Undecided::Gap,
            ),
            ("a gap where a payment could be", without(unpaid(), 43), Some(44), Undecided::Gap),
            ("entries missing at the end", without(unpaid(), 44), Some(44), Undecided::Gap),
            ("entries missing at the beginning", without(unpaid(), 42), Some(44), Undecided::IssueMissing),
            ("another mandate", Chain::new(&[other(), other()]), Some(42), Undecided::IssueMissing),
            (
                "another merchant",
                with("merchant_audience", json!("https://evil.example")),
                Some(42),
                Undecided::Differs("merchant"),
            ),
            ("another currency", with("currency", json!("USD")), Some(42), Undecided::Differs("currency")),
            ("more than the cap", with("amount_minor", json!(6001)), Some(42), Undecided::Differs("amount")),
            ("nothing", with("amount_minor", json!(0)), Some(42), Undecided::Differs("amount")),
            ("an amount that is none", with("amount_minor", json!("1299")), Some(42), Undecided::Differs("amount")),
            (
                "a payment without a name",
                with("payment_intent_id", json!("pay me")),
                Some(42),
                Undecided::Differs("payment_intent_id"),
            ),
            ("two payments", twice, Some(43), Undecided::SeveralPayments),
            ("a dispute without a payment", disputed, Some(42), Undecided::Disputed),
            ("nothing at all", Chain::new(&[]), None, Undecided::Unsigned),
        ];
        for (name, chain, head, expected) in cases {
            assert_eq!(chain.judge(head, LATE + 1), MandateOutcome::Undecided(expected), "{name}");
        }
        // A head signed by a key for something else is none.
        let other_use = plain().judge_with(Some(44), LATE, "mandates");
        assert_eq!(other_use, MandateOutcome::Undecided(Undecided::HeadInvalid));
    }

    #[test]
    fn pages_whose_link_was_not_checked_prove_nothing() {
        let chain = Chain::new(&[issued(), (SUCCEEDED, payment()), other()]);
        let page = |entries: &[Map<String, Value>]| {
            let newest_first: Vec<_> = entries.iter().rev().collect();
            let body = json!({"entries": newest_first, "has_more": false}).to_string();
            let keys = JwkSet::parse(br#"{"keys": []}"#).unwrap();
            ChainReport::and_entries(body.as_bytes(), &keys).unwrap()
        };
        let (mut report, mut entries) = page(&chain.entries[1..]);
        let (older, rest) = page(&chain.entries[..1]);
        report.add(older);
        entries.extend(rest);
        report.head = HeadVerdict::Verified { head_seq: 43, signed_at: LATE, compared: true };
        assert_eq!(judge(&terms(), &entries, &report), MandateOutcome::Undecided(Undecided::Gap));
        report.links_verified += 1;
        assert_eq!(judge(&terms(), &entries, &report), paid_at(&chain, 42));
    }
}
