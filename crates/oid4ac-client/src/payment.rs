//! A payment, from offer to receipt.

use crate::agent::Agent;
use crate::authorization::AuthorizationRequest;
use crate::authorization::status::{Authorization, Grant};
use crate::metadata::document::Metadata;
use crate::presentation::{Earlier, Presentment};
use crate::secret::AccessToken;
use crate::{
    CheckedOffers, Client, Error, Evidence, GrantToken, HeldMandate, IdempotencyKey, Journal, NotIssued, Order,
    Outcome, Payment, Proceed, Progress, ServerError, Stage, Step,
};

impl Client {
    /// Pays for an order: verifies the merchant's offers, gets a mandate, presents it, and reads settlement and receipt.
    ///
    /// It goes on from what `journal` has recorded, so calling it again with the same order and journal is how an
    /// interrupted payment is continued, a human's answer is fetched, and an unknown outcome is cleared up. A payment that
    /// is settled is answered from the journal, and nothing is sent.
    ///
    /// The future may be dropped at any time. What was sent stays sent; the journal knows.
    ///
    /// # Errors
    ///
    /// - [`Error::Misuse`] if the agent is not registered, or the order cannot be carried out as it stands.
    /// - [`Error::PeerMisbehaved`] if offer, access token, mandate or an answer does not hold; the stage's name is in it.
    ///   A mandate that does not hold is revoked, and was not presented.
    /// - [`Error::Server`] for a refusal. One of the merchant's is final, and the grant has been revoked, but that no money
    ///   moved is only its word.
    /// - [`Error::Transport`] if a request before the presentation got no answer: no money moved.
    /// - [`Error::Local`] if store or journal failed. The step that was not recorded was not taken.
    pub async fn pay(&self, order: &Order, journal: &dyn Journal) -> Result<Outcome, Error> {
        let mut progress = journal.progress()?;
        if let Some(outcome) = finished(&progress) {
            self.inner.sessions.forget(order.idempotency_key().as_str());
            self.end_grant(order.idempotency_key(), journal).await;
            return outcome;
        }
        let agent = self.agent()?;
        agent.check_can_pay()?;
        if let Some(mandate) = progress.mandate.take().filter(|mandate| self.is_presentable(&agent, mandate, &progress))
        {
            return self.present_order(&agent, order, &mandate, &progress, None, journal).await;
        }
        let metadata = self.metadata().await?;
        self.check_clock()?;
        let key = order.idempotency_key().as_str();
        let under_way = match progress.consent.take() {
            Some(_) => self.go_on(&agent, &metadata, key).await?,
            None => None,
        };
        let authorization = match under_way {
            Some(authorization) => authorization,
            // Also where consent was given and what it brought was lost on the way: it has to be asked for again.
            None => {
                Self::check_can_ask(&metadata, order.consent_mode_hint(), order.redirect_uri())?;
                let (offers, evidence) = self.verify_offers(order).await?;
                journal.keep(evidence)?;
                if journal.record(Step::OffersVerified(offers.clone()))? != Proceed::On {
                    return Ok(Outcome::Stopped);
                }
                let request = AuthorizationRequest::payment(order, &offers)?;
                let authorization = self.authorize(&agent, &metadata, request).await?;
                self.check_clock()?;
                progress.offers = Some(offers);
                authorization
            }
        };
        let forget = || self.inner.store.set_pending(key, None);
        match authorization {
            Authorization::Pending(consent) => {
                journal.record(Step::ConsentPending(consent.clone()))?;
                Ok(Outcome::Consent(consent))
            }
            Authorization::Declined(why) => {
                journal.keep(Evidence::NotIssued(why))?;
                journal.record(Step::Declined)?;
                forget()?;
                Ok(Outcome::Declined)
            }
            Authorization::Expired => {
                forget()?;
                Ok(Outcome::ConsentExpired)
            }
            Authorization::Granted(grant) => {
                // A code is sent once. Should we end here, it is lost, and must not be sent by another process.
                forget()?;
                let offers = progress.offers.clone().unwrap_or(CheckedOffers::NONE);
                match self.issue(&agent, &metadata, order, &offers, &grant, journal).await? {
                    Issued::Nothing => {
                        journal.keep(Evidence::NotIssued(NotIssued::WithoutMandate))?;
                        journal.record(Step::Declined)?;
                        Ok(Outcome::Declined)
                    }
                    Issued::Stopped => Ok(Outcome::Stopped),
                    Issued::Mandate(mandate, (token, expires_at)) => {
                        let token = Some((&token, expires_at));
                        self.present_order(&agent, order, &mandate, &progress, token, journal).await
                    }
                }
            }
        }
    }

    /// Redeems the code, and verifies what it brought before any of it is used.
    async fn issue(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        order: &Order,
        offers: &CheckedOffers,
        grant: &Grant,
        journal: &dyn Journal,
    ) -> Result<Issued, Error> {
        let tokens = self.redeem(agent, metadata, order.scope(), order.merchant().as_str(), grant).await?;
        let Some(mandate) = &tokens.mandate else {
            self.revoke(agent, metadata, &tokens.access_token, tokens.refresh_token.as_ref()).await;
            return Ok(Issued::Nothing);
        };
        let checked =
            match self.check_access_token(agent, metadata, &tokens.access_token, order.merchant().as_str()).await {
                Ok((verdict, claims)) => {
                    let issued = (mandate.as_str(), &tokens, grant.shown, verdict, claims.as_ref());
                    let held = self.check_mandate(agent, metadata, order, offers, issued).await;
                    held.map(|(held, issuer_key)| (held, issuer_key, claims))
                }
                Err(error) => Err(error),
            };
        let recorded = checked.and_then(|(held, issuer_key, claims)| {
            // By this the grant can be ended later, in whatever process the purchase ends.
            let grant = GrantToken::of(&tokens, held.expires_at);
            self.inner.store.set_grant(order.idempotency_key().as_str(), Some(&grant))?;
            journal.keep(Evidence::IssuerKey(issuer_key))?;
            claims.map_or(Ok(()), |claims| journal.keep(Evidence::AccessTokenClaims(claims)))?;
            let proceed = journal.record(Step::MandateHeld(held.clone()))?;
            Ok((held, proceed))
        });
        match recorded {
            Ok((held, Proceed::On)) => Ok(Issued::Mandate(Box::new(held), (tokens.access_token, tokens.expires_at))),
            Ok((_, Proceed::Wait)) => Ok(Issued::Stopped),
            Ok((_, Proceed::Stop)) => {
                self.end_grant(order.idempotency_key(), journal).await;
                Ok(Issued::Stopped)
            }
            Err(error) => {
                self.revoke(agent, metadata, &tokens.access_token, tokens.refresh_token.as_ref()).await;
                // What went wrong first is what the caller hears of.
                self.forget_grant(order.idempotency_key());
                Err(error)
            }
        }
    }

    async fn present_order(
        &self,
        agent: &Agent,
        order: &Order,
        mandate: &HeldMandate,
        progress: &Progress,
        access_token: Option<(&AccessToken, i64)>,
        journal: &dyn Journal,
    ) -> Result<Outcome, Error> {
        let presentment = Presentment {
            merchant: order.merchant(),
            verify_url: order.verify_url(),
            currency: order.amount().currency(),
            amount_minor: Some(order.amount().amount_minor()),
            line_items: order.line_items(),
            idempotency_key: order.idempotency_key(),
            mandate,
            offers: progress.offers.as_ref(),
            access_token,
            // Keys that were replaced since cannot sign for it: what was sent is sent again, and the merchant remembers it.
            as_given: progress.presentation.as_deref().filter(|_| !agent.holds(mandate)),
            earlier: earlier(progress),
        };
        self.present(Some(agent), &presentment, journal).await
    }

    /// Ends the grant behind the mandate that was issued for the purchase with this key, where there is one still: at the
    /// authorization server, which ends the mandate with it (RFC 7009). Answers whether the server confirmed it; `None` where
    /// there is no grant, because it was ended before, say, or came from elsewhere.
    ///
    /// A grant without a refresh token is never confirmed to have ended: a server that revokes an access token need not end
    /// what it belongs to (RFC 7009 §2.1).
    ///
    /// # Errors
    ///
    /// - [`Error::Local`] if the store cannot be read.
    pub async fn revoke_grant(&self, idempotency_key: &IdempotencyKey) -> Result<Option<bool>, Error> {
        let Some(grant) = self.inner.store.grant(idempotency_key.as_str())? else { return Ok(None) };
        let is_revoked = match (self.agent(), self.metadata().await) {
            (Ok(agent), Ok(metadata)) => self.revoke_token(&agent, &metadata, grant.token.expose(), grant.hint).await,
            _ => false,
        };
        // One that was not revoked can be tried again.
        if is_revoked {
            self.forget_grant(idempotency_key);
        }
        Ok(Some(is_revoked && grant.ends_all()))
    }

    /// As [`Client::revoke_grant`], and records what came of it. That this fails hides no outcome: the purchase is over.
    pub(crate) async fn end_grant(&self, idempotency_key: &IdempotencyKey, journal: &dyn Journal) {
        let recorded = match self.revoke_grant(idempotency_key).await {
            Ok(Some(confirmed)) => journal.record(Step::GrantRevoked { confirmed }).map(drop).map_err(Error::from),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = recorded {
            tracing::warn!(%error, "what came of ending the grant was not recorded");
        }
    }

    pub(crate) fn forget_grant(&self, idempotency_key: &IdempotencyKey) {
        if let Err(error) = self.inner.store.set_grant(idempotency_key.as_str(), None) {
            tracing::warn!(%error, "a grant's token could not be forgotten");
        }
    }

    /// A mandate that was presented is presented again whatever its age, for the merchant may have settled. One that never
    /// was is of use only while it lives, and to the key it is bound to.
    fn is_presentable(&self, agent: &Agent, mandate: &HeldMandate, progress: &Progress) -> bool {
        let lives = mandate.expires_at - self.now() > MANDATE_MARGIN_SECONDS;
        progress.may_have_settled() || (lives && agent.holds(mandate))
    }
}

/// What redeeming a code brought.
enum Issued {
    /// No mandate.
    Nothing,
    /// A mandate that may be presented, and the access token that came with it and when that ends.
    Mandate(Box<HeldMandate>, (AccessToken, i64)),
    /// A mandate that the journal does not let us present.
    Stopped,
}

impl Progress {
    /// The payment, if the merchant settled it.
    #[must_use]
    pub fn payment(&self) -> Option<Payment> {
        Some(Payment {
            offers: self.offers.clone(),
            mandate: self.mandate.clone()?,
            presentation: self.presentation.clone()?,
            settlement: self.settlement.as_deref()?.clone(),
        })
    }
}

/// The outcome that the journal already holds.
pub(crate) fn finished(progress: &Progress) -> Option<Result<Outcome, Error>> {
    if let Some(payment) = progress.payment() {
        return Some(Ok(Outcome::Settled(Box::new(payment))));
    }
    if let Some((status, code)) = &progress.refused {
        return Some(Err(ServerError::recorded(Stage::VerifyMandate, *status, code).into()));
    }
    progress.declined.then_some(Ok(Outcome::Declined))
}

pub(crate) fn earlier(progress: &Progress) -> Earlier {
    match progress.may_have_settled() {
        true => Earlier::MayHaveSettled,
        false => Earlier::NoneSent,
    }
}

const MANDATE_MARGIN_SECONDS: i64 = 5;
