//! The evidence of one payment as one file, and proving it again from the file alone.
//!
//! What merchant and authorization server signed is verified by the client's rules; that the rest is what this ledger
//! recorded, by the hashes in the ledger's journal. The file holds no token, no code, and no disclosure that was not
//! presented.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use jose::{JwkSet, base64url, sha256};
use oid4ac_client::{
    AgreedAmount, ChainReport, Check, CheckResult, Findings, HeadVerdict, KeyUsed, LineItem, Origin, PaymentEvidence,
    SignedOffer, TrustedKeys,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use spend_guard::{
    Approval, Artefact, Entry, Head, Intent, IntentId, Ledger, LedgerError, Purchase, PurchaseKind, Snapshot, State,
};

/// The file. Times are UNIX seconds unless they end in `_at` of a settlement, amounts minor units.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceFile {
    /// [`FORMAT`].
    format: String,
    /// When it was written.
    exported_at: i64,
    /// The purchase as the ledger has it.
    intent: Intent,
    /// The signed offers by line, with the merchant's key for each.
    offers: Vec<Option<SignedOffer>>,
    /// The access token's claims, without what would make it a token.
    access_token_claims: Option<Map<String, Value>>,
    /// The authorization server's key.
    issuer_key: Option<KeyUsed>,
    /// The mandate, with what was disclosed of it to the merchant.
    mandate: String,
    /// The last key-binding JWT that was presented with it.
    key_binding_jwt: String,
    /// What that answers.
    merchant_nonce: Option<String>,
    /// The merchant's signed receipt.
    receipt_jws: Option<String>,
    /// The merchant's key for it.
    receipt_key: Option<KeyUsed>,
    /// What the agent added: its word alone.
    attachments: Vec<String>,
    /// The ledger's entries about the intent.
    ledger: LedgerPart,
    /// A page of the principal's audit chain, as the server wrote it.
    audit: Option<Value>,
    /// base64url(SHA-256(JCS)) of every other member.
    manifest: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LedgerPart {
    entries: Vec<HashedEntry>,
    /// Where the whole chain ended at the export.
    head: Head,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HashedEntry {
    entry_hash: String,
    entry: Entry,
}

/// Why there is no evidence of an intent.
#[derive(Debug, thiserror::Error)]
pub enum NoEvidence {
    /// The ledger has no such intent, or cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Nothing was presented: there is no payment to prove.
    #[error("intent {0} is {1} and was never presented to the merchant: there is no payment to prove")]
    NeverPresented(IntentId, State),
    /// The audit entries would fail their own check.
    #[error(
        "the audit entries prove nothing about intent {0}: {1}; an answer of the audit endpoint is wanted, as it came, with an \
         entry about its mandate"
    )]
    Audit(IntentId, String),
    /// What is kept cannot be read.
    #[error("what the ledger keeps as {} of the intent cannot be read: {}", .0.as_str(), .1)]
    Damaged(Artefact, serde_json::Error),
    /// The text is no evidence file.
    #[error("not an evidence file of this program: {0}")]
    NotAFile(String),
}

impl EvidenceFile {
    /// Collects what `ledger` has of the payment `id`.
    ///
    /// # Errors
    ///
    /// - [`NoEvidence`] for an intent that is not there, was never presented, or whose artefacts are damaged, and for an
    ///   `audit` page that is none, was changed, or is not about it.
    pub fn collect(ledger: &Ledger, id: &IntentId, audit: Option<Value>, exported_at: i64) -> Result<Self, NoEvidence> {
        let snapshot = ledger.snapshot(id)?;
        let newest = |kind| snapshot.artefacts(kind).last().map(str::to_owned);
        let Some(presentation) = newest(Artefact::Presentation) else {
            return Err(NoEvidence::NeverPresented(id.clone(), snapshot.intent.state));
        };
        let last_tilde = presentation.rfind('~').map_or(presentation.len(), |at| at + 1);
        let (mandate, key_binding_jwt) = presentation.split_at(last_tilde);
        let entries =
            snapshot.journal.iter().map(|entry| HashedEntry { entry_hash: entry.hash(), entry: entry.clone() });
        let mut file = Self {
            format: FORMAT.to_owned(),
            exported_at,
            offers: read(&snapshot, Artefact::Offers)?.unwrap_or_default(),
            access_token_claims: read(&snapshot, Artefact::AccessTokenClaims)?,
            issuer_key: read(&snapshot, Artefact::IssuerKey)?,
            mandate: mandate.to_owned(),
            key_binding_jwt: key_binding_jwt.to_owned(),
            merchant_nonce: newest(Artefact::MerchantNonce),
            receipt_jws: newest(Artefact::Receipt),
            receipt_key: read(&snapshot, Artefact::ReceiptKey)?,
            attachments: snapshot.artefacts(Artefact::Attachment).map(str::to_owned).collect(),
            ledger: LedgerPart { entries: entries.collect(), head: snapshot.head.clone() },
            audit,
            manifest: BTreeMap::new(),
            intent: snapshot.intent,
        };
        // The presentation may have been made by somebody else, and answer another challenge than the last that we had.
        file.merchant_nonce = file.merchant_nonce.filter(|_| file.intent.kind != PurchaseKind::Verify);
        if let Some(audit) = &file.audit {
            file.read_audit(audit, None).map_err(|why| NoEvidence::Audit(id.clone(), why))?;
        }
        if let Ok(Value::Object(members)) = serde_json::to_value(&file) {
            file.manifest = manifest(&members);
        }
        Ok(file)
    }

    /// Reads a file and answers it with its members as written.
    ///
    /// # Errors
    ///
    /// - [`NoEvidence::NotAFile`], naming the member at fault.
    pub fn parse(text: &[u8]) -> Result<(Self, Map<String, Value>), NoEvidence> {
        let invalid =
            |error: &dyn std::fmt::Display| NoEvidence::NotAFile(oid4ac_client::clean(&error.to_string(), 200));
        let members = jose::json::parse_object(text).map_err(|error| invalid(&error))?;
        let file: Self = serde_path_to_error::deserialize(Value::Object(members.clone())).map_err(|e| invalid(&e))?;
        match file.format == FORMAT {
            true => Ok((file, members)),
            false => Err(NoEvidence::NotAFile(format!("its format is not {FORMAT}"))),
        }
    }

    /// The purchase that it is about.
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// Proves again everything that can be proven.
    pub fn verify(&self, trusted: &TrustedKeys) -> Findings {
        let intent = &self.intent;
        let line = |line: &spend_guard::LineItem| {
            let qty = u32::try_from(line.qty).ok()?;
            let item = LineItem::new(&line.sku, qty);
            Some(match line.unit_price_minor {
                Some(price) => item.with_unit_price_minor(price),
                None => item,
            })
        };
        let line_items: Option<Vec<_>> = intent.line_items.iter().map(line).collect();
        let currency = oid4ac_client::Currency::parse(intent.currency.code());
        let unread = || Check::of("intent", Err("its line items or currency cannot be read".to_owned()));
        let mut findings = match (line_items, currency) {
            (Some(line_items), Ok(currency)) => PaymentEvidence {
                issuer: &intent.issuer,
                merchant: &intent.merchant,
                line_items: &line_items,
                mandate_id: intent.mandate.as_ref().map(|mandate| mandate.mandate_id.as_str()),
                amount: match intent.kind {
                    PurchaseKind::Verify => AgreedAmount::UpTo(intent.amount_minor),
                    _ => AgreedAmount::Exactly(intent.amount_minor),
                },
                currency,
                idempotency_key: &intent.idempotency_key,
                settled: intent.settlement.as_ref().map(|s| (s.payment_intent_id.as_str(), s.settled_at.as_str())),
                offers: &self.offers,
                access_token_claims: self.access_token_claims.as_ref(),
                issuer_key: self.issuer_key.as_ref(),
                mandate: &self.mandate,
                key_binding_jwt: &self.key_binding_jwt,
                merchant_nonce: self.merchant_nonce.as_deref(),
                receipt_jws: self.receipt_jws.as_deref(),
                receipt_key: self.receipt_key.as_ref(),
            }
            .verify(trusted),
            _ => Findings::of(unread()),
        };
        let checks = &mut findings.checks;
        checks.extend(self.recorded());
        checks.push(Check::of_records("ledger_entries", self.check_entries()));
        checks.push(Check::of_records("ledger_intent", self.check_intent()));
        checks.push(Check::of_records("ledger_artefacts", self.check_artefacts()));
        checks.push(Check::new(
            "ledger_chain",
            CheckResult::Recorded,
            format!(
                "the ledger is the payer's own record; its head, number {} at the export, proves it against one kept elsewhere",
                self.ledger.head.seq
            ),
        ));
        checks.push(self.check_audit(trusted));
        if !self.attachments.is_empty() {
            checks.push(Check::new("attachments", CheckResult::Recorded, "what the agent added is its word alone"));
        }
        findings
    }

    /// What neither the merchant nor the authorization server signed.
    fn recorded(&self) -> [Check; 3] {
        let approval = match &self.intent.approval {
            Approval::NotNeeded => "the payer's policy asked for none".to_owned(),
            Approval::Given { at, .. } => format!("a person agreed at {}", crate::approvals::time(*at)),
            Approval::Refused { at } => format!("a person refused at {}", crate::approvals::time(*at)),
            _ => "a person was to be asked".to_owned(),
        };
        let agent = match &self.intent.agent {
            Some(agent) => format!("by \"{}\"", oid4ac_client::clean(agent, 100)),
            None => "by no named agent".to_owned(),
        };
        let recorded = |name: &str, what: String| {
            Check::new(name, CheckResult::Recorded, format!("{what}: only the payer's records say so"))
        };
        [
            recorded("approval", approval),
            recorded("agent", agent),
            recorded("state", format!("the purchase is {}", self.intent.state)),
        ]
    }

    /// As [`EvidenceFile::verify`], for a file: first, that no member differs from what was written.
    pub fn verify_file(&self, members: &Map<String, Value>, trusted: &TrustedKeys) -> Findings {
        let now = manifest(members);
        let names: std::collections::BTreeSet<_> = now.keys().chain(self.manifest.keys()).collect();
        let differs: Vec<_> = names.into_iter().filter(|name| now.get(*name) != self.manifest.get(*name)).collect();
        // What a type drops silently would be in the file and in no check.
        let dropped = serde_json::to_value(self).ok().as_ref().and_then(Value::as_object) != Some(members);
        let outcome = match (differs.as_slice(), dropped) {
            ([], false) => Ok("every member has its checksum, which anyone can write".to_owned()),
            ([], true) => Err("a member has parts that this program does not know".to_owned()),
            (names, _) => Err(format!(
                "changed since it was written: {}",
                names.iter().map(|name| format!("`{}`", oid4ac_client::clean(name, 40))).collect::<Vec<_>>().join(", ")
            )),
        };
        let mut findings = self.verify(trusted);
        findings.checks.insert(0, Check::of_records("manifest", outcome));
        findings
    }

    /// Hashes, links between neighbours, order, and whose entries they are.
    fn check_entries(&self) -> Result<String, String> {
        let entries = &self.ledger.entries;
        if let Some(wrong) = entries.iter().find(|of| of.entry.hash() != of.entry_hash) {
            return Err(format!("entry {} was changed", wrong.entry.seq));
        }
        if let Some(wrong) = entries.iter().find(|of| of.entry.intent_id.as_ref() != Some(&self.intent.id)) {
            return Err(format!("entry {} is about another intent", wrong.entry.seq));
        }
        let mut links = 0;
        for pair in entries.windows(2) {
            let [older, newer] = pair else { continue };
            if newer.entry.seq <= older.entry.seq || newer.entry.at < older.entry.at {
                return Err(format!("entry {} is out of order", newer.entry.seq));
            }
            if newer.entry.seq == older.entry.seq + 1 {
                if newer.entry.prev_hash != older.entry_hash {
                    return Err(format!("entry {} does not follow from the one before", newer.entry.seq));
                }
                links += 1;
            }
        }
        let head = &self.ledger.head;
        match entries.last() {
            None => Err("there are none".to_owned()),
            Some(last) if last.entry.seq > head.seq => Err("the head is older than the last entry".to_owned()),
            Some(last) if last.entry.seq == head.seq && last.entry_hash != head.entry_hash => {
                Err("the head is not the last entry".to_owned())
            }
            Some(_) => Ok(format!("{} entries, {links} links between neighbours", entries.len())),
        }
    }

    /// Checks the intent against the hash in its latest journal entry.
    fn check_intent(&self) -> Result<String, String> {
        let body = serde_json::to_string(&self.intent).map_err(|error| error.to_string())?;
        let told = self.ledger.entries.iter().rev().find_map(|of| of.entry.intent_hash.as_ref());
        if self.intent.kind == PurchaseKind::Verify && !self.is_identity_of_a_presentation() {
            return Err("the purchase did not begin with a mandate that came from elsewhere".to_owned());
        }
        match told == Some(&hash(body.as_bytes())) {
            true => Ok("the purchase is the one that the ledger recorded".to_owned()),
            false => Err("the purchase is not the one that the ledger recorded".to_owned()),
        }
    }

    /// What identifies a purchase hashes its kind in: one of another kind cannot pass for this one, whose mandate alone
    /// limits the amount.
    fn is_identity_of_a_presentation(&self) -> bool {
        let intent = &self.intent;
        let Some(mandate) = intent.mandate.clone() else { return false };
        let (issuer, merchant, key) = (&*intent.issuer, &*intent.merchant, &*intent.idempotency_key);
        let lines = intent.line_items.clone();
        Purchase::verify(issuer, merchant, lines, intent.amount_minor, intent.currency, mandate, key)
            .is_ok_and(|purchase| *purchase.identity() == intent.identity)
    }

    /// Everything that was recorded as an artefact is here as recorded.
    fn check_artefacts(&self) -> Result<String, String> {
        fn canonical<T: Serialize>(value: Option<&T>) -> Vec<String> {
            value.and_then(|value| serde_json_canonicalizer::to_string(value).ok()).into_iter().collect()
        }
        let text = |text: Option<&String>| text.cloned().into_iter().collect::<Vec<_>>();
        let offers = (!self.offers.is_empty()).then_some(&self.offers);
        let rows = [
            (Artefact::Offers, canonical(offers)),
            (Artefact::AccessTokenClaims, canonical(self.access_token_claims.as_ref())),
            (Artefact::IssuerKey, canonical(self.issuer_key.as_ref())),
            (Artefact::Presentation, vec![format!("{}{}", self.mandate, self.key_binding_jwt)]),
            (Artefact::MerchantNonce, text(self.merchant_nonce.as_ref())),
            (Artefact::Receipt, text(self.receipt_jws.as_ref())),
            (Artefact::ReceiptKey, canonical(self.receipt_key.as_ref())),
            (Artefact::Attachment, self.attachments.clone()),
        ];
        let mut count = 0;
        for (kind, contents) in rows {
            let told = |entry: &Entry| {
                let is_it = entry.event == "artefact" && entry.detail["name"] == kind.as_str();
                is_it.then(|| entry.detail["hash"].as_str().map(str::to_owned)).flatten()
            };
            let told: Vec<_> = self.ledger.entries.iter().filter_map(|of| told(&of.entry)).collect();
            let newest = told.len().saturating_sub(contents.len());
            let is_left_out = kind == Artefact::MerchantNonce && self.intent.kind == PurchaseKind::Verify;
            let here: Vec<_> = contents.iter().map(|content| hash(content.as_bytes())).collect();
            if !is_left_out && (told.is_empty() != here.is_empty() || told.get(newest..) != Some(here.as_slice())) {
                return Err(format!("`{}` is not what the ledger recorded", kind.as_str()));
            }
            count += here.len();
        }
        Ok(format!("{count} artefacts are as the ledger recorded them"))
    }

    /// Hashes have no key: whoever invents entries makes them fit. What the server signed for is what its head leads to.
    fn check_audit(&self, trusted: &TrustedKeys) -> Check {
        let recorded = |detail: &str| Check::new("audit", CheckResult::Recorded, detail);
        let Some(audit) = &self.audit else {
            return Check::new("audit", CheckResult::Unproven, "no audit entries were at hand at the export");
        };
        let (report, about) = match self.read_audit(audit, trusted.issuer.as_ref()) {
            Ok(read) => read,
            Err(why) => return Check::of("audit", Err(why)),
        };
        let covered = about.iter().filter(|seq| report.head_covers(**seq)).count();
        match (&report.head, covered) {
            (HeadVerdict::Verified { head_seq, .. }, 1..) => Check::of(
                "audit",
                Ok(format!(
                    "the authorization server's signed head, entry {head_seq}, leads to {covered} of {} entries about this mandate",
                    about.len()
                )),
            ),
            (HeadVerdict::Verified { .. }, _) => recorded(
                "the hashes fit, and the signed head does not lead to the entries about this mandate without a gap",
            ),
            _ if audit.get("chain_head").is_none_or(Value::is_null) => {
                recorded("the hashes fit, and no signed head says that the entries are the authorization server's")
            }
            _ => recorded("the hashes fit; that the entries are the authorization server's, its key set has to show"),
        }
    }

    /// What the page proves by itself, or with `keys`; and the numbers of the entries about this mandate, of which there is
    /// one.
    fn read_audit(&self, audit: &Value, keys: Option<&JwkSet>) -> Result<(ChainReport, Vec<u64>), String> {
        let page = audit.to_string();
        let report = match keys {
            Some(keys) => ChainReport::of_page_with_keys(page.as_bytes(), keys),
            None => ChainReport::of_page(page.as_bytes()),
        };
        let report = report.map_err(|why| why.to_string())?;
        if let HeadVerdict::Invalid { reason } = &report.head {
            return Err(format!("the signed head does not hold: {reason}"));
        }
        if !report.is_intact() {
            return Err("an entry was changed, or does not follow from its neighbour".to_owned());
        }
        let mandate_id = self.intent.mandate.as_ref().map(|mandate| mandate.mandate_id.as_str());
        let is_about = |entry: &&Value| mandate_id.is_some() && entry["payload"]["mandate_id"].as_str() == mandate_id;
        let entries = audit["entries"].as_array().into_iter().flatten().filter(is_about);
        let about: Vec<_> = entries.filter_map(|entry| entry["seq"].as_u64()).collect();
        if about.is_empty() { Err("no entry is about this mandate".to_owned()) } else { Ok((report, about)) }
    }
}

/// The key set of somebody whom the reader trusts.
///
/// # Errors
///
/// A sentence, if the text is no JWK set.
fn trusted_keys(text: &[u8]) -> Result<JwkSet, String> {
    let set = JwkSet::parse(text).map_err(|error| error.to_string())?;
    if set.keys().is_empty() { Err("it has no key that can be used".to_owned()) } else { Ok(set) }
}

/// The key sets that the settings pin for the parties of `intent`.
///
/// # Errors
///
/// A sentence that names the file, if one cannot be used.
pub fn pinned_keys(pinned: &BTreeMap<Origin, PathBuf>, intent: &Intent) -> Result<TrustedKeys, String> {
    let of = |url: &str| {
        let path = Origin::of(url).ok().and_then(|origin| pinned.get(&origin));
        path.map(|path| keys_in(path)).transpose()
    };
    Ok(TrustedKeys { issuer: of(&intent.issuer)?, merchant: of(&intent.merchant)? })
}

/// The key set in a file.
///
/// # Errors
///
/// A sentence that names the file, if it cannot be used.
pub fn keys_in(path: &Path) -> Result<JwkSet, String> {
    let text = read_capped(path).map_err(|error| format!("{}: {error}", path.display()))?;
    trusted_keys(&text).map_err(|reason| format!("{}: {reason}", path.display()))
}

/// The octets of a file that is not larger than any of this kind has a reason to be.
///
/// # Errors
///
/// If it cannot be read, or is larger than 16 MiB.
pub fn read_capped(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_OCTETS + 1).read_to_end(&mut text)?;
    match text.len() as u64 > MAX_OCTETS {
        true => Err(std::io::Error::other("larger than 16 MiB")),
        false => Ok(text),
    }
}

/// The newest artefact of `kind`, read as what it is.
fn read<T: DeserializeOwned>(snapshot: &Snapshot, kind: Artefact) -> Result<Option<T>, NoEvidence> {
    let text = snapshot.artefacts(kind).last();
    text.map(serde_json::from_str).transpose().map_err(|error| NoEvidence::Damaged(kind, error))
}

fn manifest(members: &Map<String, Value>) -> BTreeMap<String, String> {
    let others = members.iter().filter(|(name, _)| *name != "manifest");
    let hashed = |value: &Value| hash(&serde_json_canonicalizer::to_vec(value).unwrap_or_default());
    others.map(|(name, value)| (name.clone(), hashed(value))).collect()
}

fn hash(octets: &[u8]) -> String {
    base64url::encode(&sha256(octets))
}

const MAX_OCTETS: u64 = 16 << 20;
const FORMAT: &str = "oid4pay-evidence-1";
