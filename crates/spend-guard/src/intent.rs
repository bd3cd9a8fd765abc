//! The intent: one purchase from its first mention to its outcome.

use std::fmt;
use std::str::FromStr;

use jose::UnixSeconds;
use serde::{Deserialize, Serialize};

use crate::mandate::Mandate;
use crate::money::Currency;
use crate::purchase::{LineItem, Purchase, PurchaseIdentity, PurchaseKind, are_same_goods};

/// The id of an intent: a UUID of version 7 (RFC 9562 §5.7), lower-case with hyphens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IntentId(String);

impl IntentId {
    /// Parses the hyphenated form in either case.
    ///
    /// # Errors
    ///
    /// - [`InvalidIntentId`] for anything but a UUID of version 7.
    pub fn parse(id: &str) -> Result<Self, InvalidIntentId> {
        let uuid = uuid::Uuid::try_parse(id).map_err(|_| InvalidIntentId)?;
        if id.len() != 36 || uuid.get_version_num() != 7 {
            return Err(InvalidIntentId);
        }
        Ok(Self(uuid.to_string()))
    }

    pub(crate) fn new(now: UnixSeconds) -> Self {
        let seconds = u64::try_from(now).unwrap_or(0);
        Self(uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0)).to_string())
    }

    /// The 36 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for IntentId {
    type Err = InvalidIntentId;

    fn from_str(id: &str) -> Result<Self, InvalidIntentId> {
        Self::parse(id)
    }
}

impl TryFrom<String> for IntentId {
    type Error = InvalidIntentId;

    fn try_from(id: String) -> Result<Self, InvalidIntentId> {
        Self::parse(&id)
    }
}

impl From<IntentId> for String {
    fn from(id: IntentId) -> Self {
        id.0
    }
}

/// The text is no intent id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an intent id: a UUID of version 7 is wanted, as `history` lists them")]
#[non_exhaustive]
pub struct InvalidIntentId;

/// Where an intent stands.
///
/// `created → (awaiting_approval → approved) → authorized → charging → settled | failed | unknown`, then `unresolved`
/// once the mandate has ended without a verdict, and `rejected`, `expired`, `canceled`. Which step leads from which state
/// to which is [`State::after`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// Known and, once its amount is known, reserved; nothing that moves money has left.
    Created,
    /// A human is asked.
    AwaitingApproval,
    /// A human said yes.
    Approved,
    /// A human said no. Final.
    Rejected,
    /// A verified mandate is held; it was not presented yet.
    Authorized,
    /// A presentation was, or is about to be, sent: money may move.
    Charging,
    /// Paid. Final.
    Settled,
    /// Refused by policy, server or merchant. Final. Where a mandate was presented before, the refusal is only the
    /// merchant's word, and its amount still counts ([`Intent::unresolved_minor`]).
    Failed,
    /// Sent, and no verdict came: reserved while the mandate lives.
    Unknown,
    /// Sent, and the mandate has ended without a verdict: it may have been paid, and counts as spent when it was presented.
    /// Final, until a person or the principal's audit chain resolves it.
    Unresolved,
    /// Its time passed before anything was presented. Final.
    Expired,
    /// Called off before anything was presented. Final.
    Canceled,
}

/// What moves an intent from one [`State`] to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// The offers of all line items were fetched and verified, or found not to exist.
    OffersVerified,
    /// The item of a "cheapest" purchase was chosen.
    ItemPicked,
    /// A declared purchase is being made: its exact terms are known now.
    DeclarationUsed,
    /// A human is asked.
    ApprovalRequested,
    /// The human said yes.
    Approve,
    /// The human said no.
    Reject,
    /// The consent page of the authorization server waits for the human.
    ConsentPending,
    /// A verified mandate is held.
    MandateHeld,
    /// The next octet sent is a presentation.
    Presenting,
    /// The merchant answered that it is paid.
    Settle,
    /// A definite no.
    Refuse,
    /// No verdict.
    LoseAnswer,
    /// The mandate has ended and no verdict came.
    GiveUp,
    /// A person, or the principal's audit chain, says that it was paid.
    ResolvePaid,
    /// A person, or the principal's audit chain, says that it was not paid.
    ResolveNotPaid,
    /// Its time passed.
    Expire,
    /// Called off.
    Cancel,
}

impl State {
    /// Every state, in the order of their declaration.
    pub const ALL: [Self; 12] = [
        Self::Created,
        Self::AwaitingApproval,
        Self::Approved,
        Self::Rejected,
        Self::Authorized,
        Self::Charging,
        Self::Settled,
        Self::Failed,
        Self::Unknown,
        Self::Unresolved,
        Self::Expired,
        Self::Canceled,
    ];

    /// The state after `step`, or `None` where `step` is not allowed in this one. The whole state machine is here.
    #[must_use]
    pub const fn after(self, step: Step) -> Option<Self> {
        use State::{
            Approved, Authorized, AwaitingApproval, Canceled, Charging, Created, Expired, Failed, Rejected, Settled,
            Unknown, Unresolved,
        };
        Some(match (self, step) {
            (Created, Step::ItemPicked) => Created,
            (Created | Approved, Step::OffersVerified | Step::ConsentPending | Step::DeclarationUsed) => self,
            // A mandate whose cap is above the order may need an approval of its own.
            (Created | Authorized, Step::ApprovalRequested) => AwaitingApproval,
            (AwaitingApproval, Step::Approve) => Approved,
            (Created | AwaitingApproval | Approved | Authorized, Step::Reject) => Rejected,
            // A mandate that ran out before it was presented is replaced by a new one.
            (Authorized, Step::OffersVerified | Step::ConsentPending) => Authorized,
            (Created | Approved | Authorized, Step::MandateHeld) => Authorized,
            (Approved | Authorized | Charging | Unknown, Step::Presenting) => Charging,
            (Charging | Unknown, Step::Settle) => Settled,
            (Charging | Unknown, Step::LoseAnswer) => Unknown,
            (Charging | Unknown, Step::GiveUp) => Unresolved,
            (Charging | Unknown | Unresolved | Failed, Step::ResolvePaid) => Settled,
            (Charging | Unknown | Unresolved | Failed, Step::ResolveNotPaid) => Failed,
            (Created | AwaitingApproval | Approved | Authorized | Charging | Unknown, Step::Refuse) => Failed,
            (Created | AwaitingApproval | Approved | Authorized, Step::Expire) => Expired,
            (Created | AwaitingApproval | Approved | Authorized, Step::Cancel) => Canceled,
            _ => return None,
        })
    }

    /// Whether nothing but a resolution ([`Ledger::resolve`](crate::Ledger::resolve)) can change it any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Rejected | Self::Settled | Self::Failed | Self::Unresolved | Self::Expired | Self::Canceled
        )
    }

    /// Whether a presentation was sent and no verdict is known.
    #[must_use]
    pub const fn is_in_flight(self) -> bool {
        matches!(self, Self::Charging | Self::Unknown)
    }

    /// The name as stored and shown: `awaiting_approval`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Authorized => "authorized",
            Self::Charging => "charging",
            Self::Settled => "settled",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Unresolved => "unresolved",
            Self::Expired => "expired",
            Self::Canceled => "canceled",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Step {
    /// The name as stored and shown: `mandate_held`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OffersVerified => "offers_verified",
            Self::ItemPicked => "item_picked",
            Self::DeclarationUsed => "declaration_used",
            Self::ApprovalRequested => "approval_requested",
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::ConsentPending => "consent_pending",
            Self::MandateHeld => "mandate_held",
            Self::Presenting => "presenting",
            Self::Settle => "settle",
            Self::Refuse => "refuse",
            Self::LoseAnswer => "lose_answer",
            Self::GiveUp => "give_up",
            Self::ResolvePaid => "resolve_paid",
            Self::ResolveNotPaid => "resolve_not_paid",
            Self::Expire => "expire",
            Self::Cancel => "cancel",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One purchase as the ledger knows it. Times are UNIX seconds, amounts minor units.
///
/// It holds no token, code or verifier. The mandate with its disclosures and the presentations are no part of it either:
/// they are artefacts, read one by one (`Ledger::artefact`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Intent {
    /// Its id.
    pub id: IntentId,
    /// The hash of what makes two purchases the same one.
    pub identity: PurchaseIdentity,
    /// Which tool it came from.
    pub kind: PurchaseKind,
    /// Where it stands.
    pub state: State,
    /// The issuer of the authorization server.
    pub issuer: String,
    /// The merchant's origin.
    pub merchant: String,
    /// What is bought; empty until a "cheapest" purchase has picked its item.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub line_items: Vec<LineItem>,
    /// The amount, or its upper bound until a "cheapest" purchase has picked its item.
    pub amount_minor: u64,
    /// The currency.
    pub currency: Currency,
    /// The caller's word for "this purchase and no other".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purchase_ref: Option<String>,
    /// The arguments of the call that began it, as the caller wrote them ([`Purchase::called_with`]): text from strangers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called_with: Option<serde_json::Value>,
    /// The key the merchant sees, made once for this intent.
    pub idempotency_key: String,
    /// The agent on whose behalf the server runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The category of the goods, as the merchant's signed catalog has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// The merchant category code (ISO 18245).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcc: Option<String>,
    /// When it was stored.
    pub created_at: UnixSeconds,
    /// When it last changed.
    pub updated_at: UnixSeconds,
    /// When it is released if nothing was presented until then.
    pub expires_at: UnixSeconds,
    /// Whether money is held back from the budgets for it.
    pub reserved: bool,
    /// How much, where that is not the amount: the cap of the mandate, or, once settled, what is left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_minor: Option<u64>,
    /// What counts as spent at [`Intent::presented_at`] because it may have been paid: the cap of a mandate that was
    /// presented and refused, or that ended without a verdict.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unresolved_minor: u64,
    /// What was said in advance, for a declared purchase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declaration: Option<Declaration>,
    /// Whether a human must agree, was asked, and what the answer was.
    #[serde(default)]
    pub approval: Approval,
    /// Whether a call for the purchase was answered that the human refused it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rejection_told: bool,
    /// The hash of the ticket by which one answer to an open question is taken ([`Ledger::issue_ticket`](crate::Ledger)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Whether every line's offer was verified; `None` until they were looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer_verified: Option<bool>,
    /// The digest over the offers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer_digest: Option<String>,
    /// The consent page, while the human is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
    /// The mandate that is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mandate: Option<Mandate>,
    /// How often it was presented.
    #[serde(default)]
    pub attempts: u32,
    /// When it was presented last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presented_at: Option<UnixSeconds>,
    /// What came of ending the grant behind the mandate, where that was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<Revocation>,
    /// Who decided about an outcome that the merchant did not tell, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// The merchant's answer, when settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<Settlement>,
    /// Why it failed, or why the outcome is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When it was paid, by our clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<UnixSeconds>,
}

impl Intent {
    /// The most that can be charged for it: the amount, or the cap of the mandate where that is more.
    #[must_use]
    pub fn at_stake_minor(&self) -> u64 {
        self.mandate.as_ref().map_or(self.amount_minor, |mandate| mandate.cap_minor.max(self.amount_minor))
    }

    /// What is held back from the budgets for it.
    #[must_use]
    pub fn held_back_minor(&self) -> u64 {
        if self.reserved { self.reserved_minor.unwrap_or(self.amount_minor) } else { 0 }
    }

    /// Whether its mandate was presented, so that a second one could pay for it twice.
    #[must_use]
    pub fn was_presented(&self) -> bool {
        self.attempts > 0
    }

    /// Whether a mandate is held that can still be charged at `now`.
    #[must_use]
    pub fn mandate_lives(&self, now: UnixSeconds) -> bool {
        let revoked = matches!(self.revocation, Some(Revocation::Confirmed { .. }));
        !revoked && self.mandate.as_ref().is_some_and(|mandate| mandate.expires_at > now)
    }

    /// What a merchant that has charged `paid_minor` can still charge at `now`.
    pub(crate) fn still_chargeable_minor(&self, now: UnixSeconds, paid_minor: u64) -> u64 {
        if self.mandate_lives(now) { self.at_stake_minor().saturating_sub(paid_minor) } else { 0 }
    }

    /// Whether it may have been paid and only a person or the audit chain can tell.
    #[must_use]
    pub fn may_have_been_paid(&self) -> bool {
        self.state.is_in_flight() || self.state == State::Unresolved || self.unresolved_minor > 0
    }

    /// Whether a call that repeats it gets what is recorded, and nothing is made: it is over, and a mandate was presented
    /// for it. A settlement that the merchant told is answered in full instead.
    pub(crate) fn is_recorded_outcome(&self) -> bool {
        self.state.is_final() && self.was_presented() && (self.state != State::Settled || self.resolution.is_some())
    }

    /// When something about it lapses by itself: the whole of it before a presentation, its mandate afterwards.
    pub(crate) fn lapses_at(&self) -> Option<UnixSeconds> {
        if self.state.after(Step::Expire).is_some() {
            return Some(self.expires_at);
        }
        let mandate_matters = self.state.is_in_flight() || self.reserved;
        self.mandate.as_ref().filter(|_| mandate_matters).map(|mandate| mandate.expires_at)
    }

    /// In what `purchase` is not the one that was declared: `issuer`, `merchant`, `currency`, `line_items` or `amount`.
    /// `None` if it is, within the tolerance, or if nothing was declared.
    #[must_use]
    pub fn departs_from_declaration(&self, purchase: &Purchase) -> Option<&'static str> {
        let declared = self.declaration.as_ref()?;
        self.differs_from(purchase).or_else(|| {
            let is_within = declared.amount_minor.abs_diff(purchase.amount_minor) <= declared.tolerance_minor;
            (!is_within).then_some("amount")
        })
    }

    /// In what `purchase` differs, its amount left aside.
    pub(crate) fn differs_from(&self, purchase: &Purchase) -> Option<&'static str> {
        let differs = [
            ("issuer", self.issuer != purchase.issuer),
            ("merchant", self.merchant != purchase.merchant),
            ("currency", self.currency != purchase.currency),
            ("line_items", !are_same_goods(&self.line_items, &purchase.line_items)),
        ];
        differs.into_iter().find_map(|(what, differs)| differs.then_some(what))
    }
}

/// A human's part in an intent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Approval {
    /// Nobody needs to be asked.
    #[default]
    NotNeeded,
    /// Somebody must be asked before the authorization server is.
    Needed {
        /// The rules and circumstances that want it.
        reasons: Vec<String>,
    },
    /// Somebody was asked.
    Requested {
        /// What they are asked to agree to.
        terms: ApprovalTerms,
    },
    /// They agreed, once, to exactly this.
    Given {
        /// What they agreed to.
        terms: ApprovalTerms,
        /// When.
        at: UnixSeconds,
        /// Whether it was used: an approval works once.
        used: bool,
    },
    /// They refused.
    Refused {
        /// When.
        at: UnixSeconds,
    },
}

/// What a human is asked to agree to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ApprovalTerms {
    /// The merchant's origin.
    pub merchant: String,
    /// The most that may be paid.
    pub amount_minor: u64,
    /// The currency.
    pub currency: Currency,
    /// What is shown beside it, from verified data: the merchant's name, the items.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<(String, String)>,
    /// Until when the answer counts.
    pub expires_at: UnixSeconds,
}

/// What an agent said about a purchase before it made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Declaration {
    /// The caller's own name for it; a purchase with this `purchase_ref` is the one that was declared.
    pub reference: String,
    /// What it is for.
    pub summary: String,
    /// The amount expected.
    pub amount_minor: u64,
    /// By how many minor units the real amount may differ.
    pub tolerance_minor: u64,
    /// Whether the purchase was made.
    pub used: bool,
}

/// A consent page that waits for the human.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Consent {
    /// Where the human decides.
    pub url: String,
    /// Until when.
    pub expires_at: UnixSeconds,
}

/// A merchant's answer that it is paid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "the caller fills it from the answer, member by member")]
pub struct Settlement {
    /// The merchant's id of the payment.
    pub payment_intent_id: String,
    /// The reference at the payment provider.
    pub payment_provider_ref: Option<String>,
    /// When it settled, as the merchant wrote it (RFC 3339).
    pub settled_at: String,
    /// Where the receipt is.
    pub receipt_url: Option<String>,
    /// The signed receipt.
    pub receipt_jws: Option<String>,
    /// What checking the receipt gave.
    pub receipt: ReceiptVerdict,
    /// When the merchant verified the mandate (RFC 3339).
    pub verified_at: Option<String>,
    /// The principal that the merchant saw.
    pub verifier_principal_id: Option<String>,
    /// What is left of the mandate's cap.
    pub spend_cap_remaining_minor: Option<u64>,
}

/// What checking a receipt gave. It never decides whether the payment is settled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the profile has these three")]
pub enum ReceiptVerdict {
    /// Signed by the merchant, and every field agrees.
    Verified,
    /// There is none.
    #[default]
    Absent,
    /// There is one, and this is wrong with it.
    Invalid {
        /// The member that differs, or `signature`.
        field: String,
    },
}

/// Why an intent failed, or why its outcome is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// A stable code: a policy's, an OAuth error's, the merchant's.
    pub code: String,
    /// One sentence for a person.
    pub message: String,
    /// The HTTP status of a merchant's refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// What came of revoking the grant behind a mandate (RFC 7009).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "confirmed or not")]
pub enum Revocation {
    /// The authorization server confirmed it: nothing more can be charged.
    Confirmed {
        /// When.
        at: UnixSeconds,
    },
    /// It was tried, and no confirmation came. The mandate ends by itself when it expires.
    Unconfirmed {
        /// When.
        at: UnixSeconds,
    },
}

/// A decision about an outcome that the merchant did not tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Resolution {
    /// Whether it was paid.
    pub paid: bool,
    /// Who says so.
    pub by: ResolvedBy,
    /// When it was recorded.
    pub at: UnixSeconds,
    /// The merchant's id of the payment, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_intent_id: Option<String>,
}

/// Who resolved an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResolvedBy {
    /// A person, proved by the passphrase.
    Person {
        /// The account that ran the command.
        name: String,
        /// Why, in their words.
        reason: String,
    },
    /// The principal's audit chain, its signed head verified.
    AuditChain {
        /// The number of the entry that decided.
        seq: u64,
        /// Its hash.
        entry_hash: String,
    },
}

/// For `skip_serializing_if`, which passes a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(minor: &u64) -> bool {
    *minor == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_resolution_leaves_a_final_state() {
        let steps = [
            Step::OffersVerified,
            Step::ItemPicked,
            Step::DeclarationUsed,
            Step::ApprovalRequested,
            Step::Approve,
            Step::Reject,
            Step::ConsentPending,
            Step::MandateHeld,
            Step::Presenting,
            Step::Settle,
            Step::Refuse,
            Step::LoseAnswer,
            Step::GiveUp,
            Step::Expire,
            Step::Cancel,
        ];
        for state in State::ALL {
            let leads_on = steps.iter().any(|step| state.after(*step).is_some());
            assert_eq!(leads_on, !state.is_final(), "{state}");
        }
    }

    #[test]
    fn only_what_may_have_been_paid_is_resolved() {
        let open = [State::Charging, State::Unknown, State::Unresolved, State::Failed];
        for state in State::ALL {
            let resolves = open.contains(&state);
            assert_eq!(state.after(Step::ResolvePaid), resolves.then_some(State::Settled), "{state}");
            assert_eq!(state.after(Step::ResolveNotPaid), resolves.then_some(State::Failed), "{state}");
        }
    }

    #[test]
    fn money_in_flight_is_never_expired_or_canceled() {
        for state in [State::Charging, State::Unknown] {
            assert_eq!(state.after(Step::Expire), None);
            assert_eq!(state.after(Step::Cancel), None);
        }
    }

    #[test]
    fn an_id_is_a_uuid_of_version_seven() {
        let id = IntentId::new(1_700_000_000);
        assert_eq!(IntentId::parse(&id.as_str().to_uppercase()), Ok(id));
        for bad in ["", "../../etc/passwd", "67e55044-10b1-426f-9247-bb680e5fe0c8", "0198c6d5b1f77a8e8b1ec3b1b1a4d5c6"]
        {
            assert_eq!(IntentId::parse(bad), Err(InvalidIntentId), "{bad}");
        }
    }
}
