//! Taking up a presentation that was made earlier, or by somebody else.

use sd_jwt::{UnverifiedSdJwt, Validity};

use crate::Proceed;
use crate::mandate::read_mandate;
use crate::payment::{earlier, finished};
use crate::presentation::Presentment;
use crate::{
    Artefact, Client, Endpoint, Error, Evidence, HeldMandate, IdempotencyKey, Journal, KeyUsed, LineItem, Misbehaviour,
    Misuse, Money, Origin, Outcome, Verdict,
};

/// A presentation whose issuer's signature was verified: what it would pay, and where.
///
/// Whether its KB-JWT holds is for the merchant to judge, who alone knows the challenge.
#[derive(Debug)]
pub struct PresentedMandate {
    merchant: Origin,
    verify_url: Endpoint,
    amount: Money,
    line_items: Vec<(String, u64)>,
    presentation: String,
    held: HeldMandate,
    issuer_key: KeyUsed,
}

impl PresentedMandate {
    /// The mandate's identifier.
    #[must_use]
    pub fn mandate_id(&self) -> &str {
        &self.held.mandate_id
    }

    /// The merchant it is for.
    #[must_use]
    pub fn merchant(&self) -> &Origin {
        &self.merchant
    }

    /// The most that can be charged under it.
    #[must_use]
    pub fn amount(&self) -> Money {
        self.amount
    }

    /// The mandate's `exp`.
    #[must_use]
    pub fn expires_at(&self) -> jose::UnixSeconds {
        self.held.expires_at
    }

    /// SKU and quantity of each line, sorted by SKU.
    #[must_use]
    pub fn line_items(&self) -> &[(String, u64)] {
        &self.line_items
    }

    /// Refuses line items that are not the mandate's, SKU by SKU and quantity by quantity.
    ///
    /// # Errors
    ///
    /// - [`Misuse::MandateLineItems`].
    pub fn check_line_items(&self, line_items: &[LineItem]) -> Result<(), Error> {
        let mut asked: Vec<_> = line_items.iter().map(|line| (line.sku().to_owned(), u64::from(line.qty()))).collect();
        asked.sort();
        if asked == self.line_items { Ok(()) } else { Err(Misuse::MandateLineItems.into()) }
    }

    /// The issuer-signed JWT.
    #[must_use]
    pub fn mandate_jwt(&self) -> &str {
        self.held.mandate_jwt()
    }

    /// The key to use where neither the caller nor a journal has one: the same for the same mandate.
    #[must_use]
    pub fn derived_idempotency_key(&self) -> Option<IdempotencyKey> {
        let input = format!("oid4ac-verify{}", self.mandate_jwt());
        IdempotencyKey::parse(&jose::base64url::encode(&jose::sha256(input.as_bytes())))
    }
}

impl Client {
    /// Verifies the issuer's part of a presentation that is to be sent to `verify_url`.
    ///
    /// The mandate's times are not looked at: a merchant that settled answers for it even when it has since expired.
    ///
    /// # Errors
    ///
    /// - [`Misuse::Url`] if `verify_url` is not usable.
    /// - [`Misuse::MandateAudience`] if the mandate is for another origin.
    /// - [`Error::PeerMisbehaved`] if the mandate does not hold, or there is no KB-JWT.
    pub async fn read_presentation(&self, presentation: &str, verify_url: &str) -> Result<PresentedMandate, Error> {
        let verify_url = Endpoint::parse(verify_url).map_err(|why| Misuse::Url { what: "merchant_verify_url", why })?;
        let refused = |why| Misbehaviour::new(Artefact::Mandate, why);
        let unverified = UnverifiedSdJwt::parse(presentation).map_err(refused)?;
        if !unverified.has_key_binding() {
            return Err(refused(sd_jwt::VerifyError::MissingKeyBinding).into());
        }
        let metadata = self.metadata().await?;
        let (verified, issuer_key) = self.verify_issued(&unverified, &metadata, Validity::CheckedLater).await?;
        let claims = read_mandate(&verified, &issuer_key, &self.inner.issuer)
            .map_err(|why| Misbehaviour::new(Artefact::Mandate, why))?;
        if claims.merchant != *verify_url.origin() {
            let (mandate, verify) = (claims.merchant.to_string(), verify_url.origin().to_string());
            return Err(Misuse::MandateAudience { mandate, verify }.into());
        }
        let last_tilde = presentation.rfind('~').map_or(presentation.len(), |at| at + 1);
        Ok(PresentedMandate {
            merchant: claims.merchant,
            verify_url,
            amount: claims.cap,
            line_items: claims.line_items,
            presentation: presentation.to_owned(),
            held: HeldMandate {
                mandate_id: claims.mandate_id,
                sd_jwt: presentation[..last_tilde].to_owned(),
                cap_minor: claims.cap.amount_minor(),
                expires_at: claims.expires_at,
                offer_digest: claims.offer_digest,
                offer_id: claims.offer_id,
                jkt: Some(claims.jkt),
                access_token: Verdict::Absent,
                mandate: claims.verdict,
            },
            issuer_key: KeyUsed::new(&issuer_key, self.now()),
        })
    }

    /// Presents it: first as given, and with a KB-JWT made again, under the same key, where the merchant wants another
    /// challenge and the mandate is bound to our key. This charges; resuming and repeating work as for [`Client::pay`].
    ///
    /// # Errors
    ///
    /// - as for [`Client::pay`].
    pub async fn verify_mandate(
        &self,
        presented: &PresentedMandate,
        line_items: &[LineItem],
        offer_id: Option<&str>,
        idempotency_key: &IdempotencyKey,
        journal: &dyn Journal,
    ) -> Result<Outcome, Error> {
        presented.check_line_items(line_items)?;
        let progress = journal.progress()?;
        if let Some(outcome) = finished(&progress) {
            self.end_grant(idempotency_key, journal).await;
            return outcome;
        }
        let agent = match self.agent() {
            Ok(agent) => Some(agent),
            Err(Error::Misuse(Misuse::NotRegistered)) => None,
            Err(error) => return Err(error),
        };
        let mut mandate = presented.held.clone();
        match &progress.mandate {
            Some(held) => mandate.offer_id.clone_from(&held.offer_id),
            None => {
                mandate.offer_id = offer_id.map(str::to_owned).or(mandate.offer_id);
                journal.keep(Evidence::IssuerKey(presented.issuer_key.clone()))?;
                if journal.record(crate::Step::MandateHeld(mandate.clone()))? != Proceed::On {
                    return Ok(Outcome::Stopped);
                }
            }
        }
        let presentment = Presentment {
            merchant: &presented.merchant,
            verify_url: &presented.verify_url,
            currency: presented.amount.currency(),
            amount_minor: None,
            line_items,
            idempotency_key,
            mandate: &mandate,
            offers: progress.offers.as_ref(),
            access_token: None,
            as_given: Some(&presented.presentation),
            earlier: earlier(&progress),
        };
        self.present(agent.as_ref(), &presentment, journal).await
    }
}
