//! The mandate: an SD-JWT VC (RFC 9901, draft-ietf-oauth-sd-jwt-vc) that lets this agent's key spend at one merchant.

use jose::{Jwk, JwsError};
use sd_jwt::{Policy, UnverifiedSdJwt, Validity, VerifiedSdJwt, VerifyError};
use serde_json::{Map, Value};

use crate::agent::Agent;
use crate::authorization::status::Shown;
use crate::metadata::document::Metadata;
use crate::money::MAX_MINOR;
use crate::status_list::StatusEntry;
use crate::token::{Tokens, elements};
use crate::{
    Artefact, CheckedOffers, Client, Currency, Endpoint, Error, HeldMandate, KeyUsed, LineItem, Misbehaviour, Money,
    Order, Origin, Verdict, Why, profile, untrusted,
};

/// What a mandate says, its issuer's signature verified.
pub(crate) struct MandateClaims {
    pub(crate) mandate_id: String,
    pub(crate) merchant: Origin,
    pub(crate) cap: Money,
    pub(crate) line_items: Vec<(String, u64)>,
    /// What a piece costs, by SKU, where the mandate says.
    unit_prices: Vec<(String, u64)>,
    pub(crate) offer_digest: Option<String>,
    pub(crate) offer_id: Option<String>,
    pub(crate) expires_at: i64,
    pub(crate) jkt: String,
    pub(crate) status: StatusEntry,
    pub(crate) verdict: Verdict,
}

impl Client {
    /// Verifies a mandate just issued, against what was asked for; nothing of it is to be presented otherwise.
    pub(crate) async fn check_mandate(
        &self,
        agent: &Agent,
        metadata: &Metadata,
        order: &Order,
        offers: &CheckedOffers,
        issued: (&str, &Tokens, Shown, Verdict, Option<&Map<String, Value>>),
    ) -> Result<(HeldMandate, KeyUsed), Error> {
        let (mandate, tokens, shown, access_token, token_claims) = issued;
        let sd_jwt = sd_jwt::complete(mandate).into_owned();
        let validity = Validity::At { now: self.now(), leeway_seconds: profile::CLOCK_LEEWAY_SECONDS };
        let unverified = UnverifiedSdJwt::parse(&sd_jwt).map_err(refused)?;
        let (verified, issuer_key) = self.verify_issued(&unverified, metadata, validity).await?;
        let claims = read_mandate(&verified, &issuer_key, &self.inner.issuer).map_err(refused)?;
        check_asked(&claims, agent, order, offers).map_err(refused)?;
        check_cap(&claims, order, tokens.granted_minor, shown).map_err(refused)?;
        check_granted(&claims, &tokens.granted)
            .map_err(|name| Misbehaviour::new(Artefact::TokenResponse, Why::Mismatch(name)))?;
        let in_token = token_claims.and_then(|claims| claims.get("authorization_details")).map(elements);
        check_granted(&claims, &in_token.unwrap_or_default())
            .map_err(|name| Misbehaviour::new(Artefact::AccessToken, Why::Mismatch(name)))?;
        match self.is_revoked(&claims.status, &metadata.jwks_uri).await {
            Ok(false) => {}
            Ok(true) => return Err(refused(Why::Revoked).into()),
            // The merchant must look before it charges; that its list cannot be had now does not make a mandate bad.
            Err(error @ (Error::Transport { .. } | Error::Server(_))) => tracing::warn!(%error, "status not checked"),
            Err(error) => return Err(error),
        }
        let held = HeldMandate {
            mandate_id: claims.mandate_id,
            sd_jwt,
            cap_minor: claims.cap.amount_minor(),
            expires_at: claims.expires_at,
            offer_digest: claims.offer_digest,
            offer_id: order.offer_id().map(str::to_owned),
            jkt: Some(claims.jkt),
            access_token,
            mandate: claims.verdict,
        };
        Ok((held, KeyUsed::new(&issuer_key, self.now())))
    }

    /// Verifies the issuer's signature with a key of the authorization server's, and the rules of SD-JWT VC.
    pub(crate) async fn verify_issued(
        &self,
        unverified: &UnverifiedSdJwt<'_>,
        metadata: &Metadata,
        validity: Validity,
    ) -> Result<(VerifiedSdJwt, Jwk), Error> {
        let alg = unverified.unverified_alg();
        if !profile::AS_TOKENS.contains(&alg) {
            return Err(refused(VerifyError::Jws(JwsError::AlgNotAllowed(alg.name().to_owned()))).into());
        }
        let jwk = self.as_key(&metadata.jwks_uri, unverified.unverified_kid(), Artefact::Mandate).await?;
        let policy = Policy::new(profile::AS_TOKENS, profile::MANDATE_TYP, validity).sd_jwt_vc();
        let verified = match unverified.has_key_binding() {
            false => unverified.verify(jwk.key(), &policy),
            true => unverified.verify_presentation(jwk.key(), &policy).map(|unbound| unbound.unbound().clone()),
        };
        let verified = verified.map_err(|error| match error {
            VerifyError::Expired { .. } => refused(Why::Expired),
            VerifyError::NotYetValid { .. } => refused(Why::NotYetValid),
            other => refused(other),
        })?;
        Ok((verified, jwk))
    }
}

/// Reads the claims that the protocol defines.
pub(crate) fn read_mandate(
    verified: &VerifiedSdJwt,
    issuer_key: &Jwk,
    issuer: &Endpoint,
) -> Result<MandateClaims, Why> {
    let claims = verified.claims();
    let text = |name: &'static str| claims.get(name).and_then(Value::as_str).ok_or(Why::Member(name));
    let expect = |name: &'static str, value: &str| match text(name)? == value {
        true => Ok(()),
        false => Err(Why::Mismatch(name)),
    };
    expect("iss", issuer.as_str())?;
    expect("vct", profile::MANDATE_VCT)?;
    expect("oid4ac_version", profile::MANDATE_VERSION)?;
    let time = |name: &'static str| claims.get(name).and_then(Value::as_i64).ok_or(Why::Member(name));
    let (issued_at, expires_at) = (time("iat")?, time("exp")?);
    if expires_at.saturating_sub(issued_at) > profile::MANDATE_MAX_LIFE_SECONDS {
        return Err(Why::LivesTooLong { max_seconds: profile::MANDATE_MAX_LIFE_SECONDS });
    }
    let mandate_id = text("mandate_id")?;
    if !untrusted::is_identifier(mandate_id) {
        return Err(Why::Member("mandate_id"));
    }
    let merchant = audience(claims)?;
    let details = only_details(claims)?;
    let detail = |name: &'static str| details.get(name).and_then(Value::as_str).ok_or(Why::Member(name));
    let optional = |name: &'static str| match details.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Why::Member(name)),
    };
    if detail("merchant")? != merchant.as_str() {
        return Err(Why::Mismatch("merchant"));
    }
    let amount = details.get("amount_minor").and_then(Value::as_u64).ok_or(Why::Member("amount_minor"))?;
    let currency = Currency::parse(detail("currency")?).map_err(|_| Why::Member("currency"))?;
    Ok(MandateClaims {
        mandate_id: mandate_id.to_owned(),
        cap: Money::new(amount, currency).map_err(|_| Why::Member("amount_minor"))?,
        line_items: line_items(details)?,
        unit_prices: unit_prices(details)?,
        offer_digest: optional("offer_digest")?.map(checked_digest).transpose()?,
        offer_id: optional("offer_id")?,
        jkt: verified.holder_thumbprint().ok_or(Why::Member("cnf.jkt"))?.as_str().to_owned(),
        status: StatusEntry::read(claims, issuer)?,
        merchant,
        expires_at,
        verdict: Verdict::by(issuer_key.kid(), issuer_key.key()),
    })
}

/// One merchant: a string, or an array of one. A cap that two merchants share without talking to each other is no cap.
fn audience(claims: &Map<String, Value>) -> Result<Origin, Why> {
    let text = match claims.get("aud") {
        Some(Value::String(text)) => text,
        Some(Value::Array(list)) => match list.as_slice() {
            [Value::String(text)] => text,
            _ => return Err(Why::Member("aud")),
        },
        _ => return Err(Why::Member("aud")),
    };
    Origin::of(text).ok().filter(|origin| origin.as_str() == text).ok_or(Why::Member("aud"))
}

fn only_details(claims: &Map<String, Value>) -> Result<&Map<String, Value>, Why> {
    let list = claims.get("authorization_details").and_then(Value::as_array);
    match list.map(Vec::as_slice) {
        Some([Value::Object(details)]) if details.get("type").is_none_or(|typ| typ == "oid4ac_mandate") => Ok(details),
        _ => Err(Why::Member("authorization_details")),
    }
}

fn line_items(details: &Map<String, Value>) -> Result<Vec<(String, u64)>, Why> {
    let list = details.get("line_items").and_then(Value::as_array).ok_or(Why::Member("line_items"))?;
    let read = |item: &Value| Some((item.get("sku")?.as_str()?.to_owned(), item.get("qty")?.as_u64()?));
    let mut items: Vec<_> = list.iter().map(read).collect::<Option<_>>().ok_or(Why::Member("line_items"))?;
    items.sort();
    let repeated = items.windows(2).any(|pair| pair[0].0 == pair[1].0);
    match repeated || items.is_empty() || items.iter().any(|(_, qty)| *qty == 0) {
        true => Err(Why::Member("line_items")),
        false => Ok(items),
    }
}

/// A merchant that signs no offer charges by these.
fn unit_prices(details: &Map<String, Value>) -> Result<Vec<(String, u64)>, Why> {
    let list = details.get("line_items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let priced = list.iter().filter(|item| item.get("unit_price_minor").is_some());
    let read = |item: &Value| Some((item.get("sku")?.as_str()?.to_owned(), item.get("unit_price_minor")?.as_u64()?));
    priced.map(read).collect::<Option<_>>().ok_or(Why::Member("unit_price_minor"))
}

/// 43 characters, the base64url of 32 octets.
fn checked_digest(text: String) -> Result<String, Why> {
    match jose::base64url::decode_array::<32>(&text) {
        Ok(_) => Ok(text),
        Err(_) => Err(Why::Member("offer_digest")),
    }
}

/// The mandate's `line_items` and ours, as (sku, qty) in any order.
pub(crate) fn same_lines(mandate: &MandateClaims, ours: &[LineItem]) -> bool {
    let mut ours: Vec<_> = ours.iter().map(|line| (line.sku().to_owned(), u64::from(line.qty()))).collect();
    ours.sort();
    mandate.line_items == ours
}

/// Whether no line costs more or less by the mandate than we asked for.
fn same_prices(mandate: &MandateClaims, ours: &[LineItem]) -> bool {
    let differs = |line: &LineItem, sku: &str, price: u64| {
        line.sku() == sku && line.unit_price_minor().is_some_and(|ours| ours != price)
    };
    !mandate.unit_prices.iter().any(|(sku, price)| ours.iter().any(|line| differs(line, sku, *price)))
}

fn check_asked(claims: &MandateClaims, agent: &Agent, order: &Order, offers: &CheckedOffers) -> Result<(), Why> {
    let matches = [
        ("cnf.jkt", claims.jkt == agent.minter.jkt().as_str()),
        ("aud", claims.merchant == *order.merchant()),
        ("currency", claims.cap.currency() == order.amount().currency()),
        ("line_items", same_lines(claims, order.line_items())),
        ("unit_price_minor", same_prices(claims, order.line_items())),
        ("offer_digest", claims.offer_digest == offers.digest),
        ("offer_id", claims.offer_id.as_deref().is_none_or(|id| Some(id) == order.offer_id())),
    ];
    match matches.into_iter().find(|(_, same)| !same) {
        Some((name, _)) => Err(Why::Mismatch(name)),
        None => Ok(()),
    }
}

/// The cap covers the amount, and is no more than the order takes and the principal was shown. Where nothing was shown, it is
/// the amount.
fn check_cap(claims: &MandateClaims, order: &Order, granted: Option<u64>, shown: Shown) -> Result<(), Why> {
    let (cap, amount) = (claims.cap.amount_minor(), order.amount().amount_minor());
    let most = match shown {
        Shown::Yes => granted.unwrap_or(amount).min(order.cap_up_to_minor()).min(MAX_MINOR),
        Shown::No => amount,
    };
    match (amount..=most).contains(&cap) {
        true => Ok(()),
        false => Err(Why::Mismatch("amount_minor")),
    }
}

/// What the server says beside the mandate that it granted has to be what the mandate says: the same purchase, and at least
/// its cap. What isn't said contradicts nothing. `Err` names the member that does.
fn check_granted(claims: &MandateClaims, granted: &[Map<String, Value>]) -> Result<(), &'static str> {
    for details in granted {
        let same = |name: &str, value: Option<&str>| {
            details.get(name).is_none_or(|said| said.is_null() || (said.is_string() && said.as_str() == value))
        };
        let covers = |said: &Value| said.as_u64().is_some_and(|said| claims.cap.amount_minor() <= said);
        let same_lines = || line_items(details).is_ok_and(|lines| lines == claims.line_items);
        let matches = [
            ("merchant", same("merchant", Some(claims.merchant.as_str()))),
            ("currency", same("currency", Some(claims.cap.currency().code()))),
            ("offer_digest", same("offer_digest", claims.offer_digest.as_deref())),
            ("amount_minor", details.get("amount_minor").is_none_or(covers)),
            ("line_items", !details.contains_key("line_items") || same_lines()),
        ];
        if let Some((name, _)) = matches.into_iter().find(|(_, same)| !same) {
            return Err(name);
        }
    }
    Ok(())
}

fn refused(why: impl Into<Why>) -> Misbehaviour {
    Misbehaviour::new(Artefact::Mandate, why)
}
