use jose::{Alg, Typ, UnixSeconds};
use serde_json::{Map, Value};

use crate::process::Processed;
use crate::{PathSegment, VerifyError};

/// What a verifier, or a holder that receives it, requires of the issuer's part.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    pub(crate) algs: &'a [Alg],
    typ: Typ<'a>,
    validity: Validity,
    future_iat_refused: bool,
    vc: bool,
}

/// Whether the SD-JWT's times are checked with the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Validity {
    /// `exp` and `nbf`, where they are there, must hold at `now`, give or take `leeway_seconds`.
    At {
        /// The verifier's time.
        now: UnixSeconds,
        /// How far the issuer's clock may be off.
        leeway_seconds: u32,
    },
    /// They are not looked at; [`VerifiedSdJwt::check_times`](crate::VerifiedSdJwt::check_times) does that when its turn
    /// comes.
    CheckedLater,
}

impl Validity {
    /// Valid at `now`, with no leeway.
    #[must_use]
    pub fn at(now: UnixSeconds) -> Self {
        Self::At { now, leeway_seconds: 0 }
    }
}

impl<'a> Policy<'a> {
    /// A policy that takes these algorithms and these values of `typ`.
    #[must_use]
    pub fn new(algs: &'a [Alg], typ: impl Into<Typ<'a>>, validity: Validity) -> Self {
        Self { algs, typ: typ.into(), validity, future_iat_refused: false, vc: false }
    }

    /// Also refuses an `iat` ahead of the time and its leeway. RFC 7519 §4.1.6 leaves that open.
    #[must_use]
    pub fn refuse_future_iat(mut self) -> Self {
        self.future_iat_refused = true;
        self
    }

    /// Also applies the rules of SD-JWT VC (draft-ietf-oauth-sd-jwt-vc §3.2): `vct` is a string, and neither it nor
    /// `iss`, `nbf`, `exp`, `cnf`, `vct#integrity` or `status` came from a disclosure. With [`Typ::Unchecked`], `typ` must
    /// be one of [`VC_TYPES`]; any other choice stands.
    #[must_use]
    pub fn sd_jwt_vc(mut self) -> Self {
        self.vc = true;
        self
    }

    pub(crate) fn typ(&self) -> Typ<'a> {
        match (self.typ, self.vc) {
            (Typ::Unchecked, true) => Typ::OneOf(&VC_TYPES),
            (typ, _) => typ,
        }
    }

    pub(crate) fn check(&self, processed: &Processed) -> Result<(), VerifyError> {
        if let Validity::At { now, leeway_seconds } = self.validity {
            check_times(&processed.claims, now, leeway_seconds)?;
            if self.future_iat_refused
                && numeric_date(&processed.claims, "iat")?
                    .is_some_and(|iat| iat > now as f64 + f64::from(leeway_seconds))
            {
                return Err(VerifyError::IssuedInFuture { now });
            }
        }
        if self.vc { check_vc(processed) } else { Ok(()) }
    }
}

/// `exp` and `nbf` (RFC 7519 §4.1.4, §4.1.5), and the form of `iat`.
pub(crate) fn check_times(
    claims: &Map<String, Value>,
    now: UnixSeconds,
    leeway_seconds: u32,
) -> Result<(), VerifyError> {
    let leeway = f64::from(leeway_seconds);
    numeric_date(claims, "iat")?;
    if numeric_date(claims, "exp")?.is_some_and(|exp| now as f64 - leeway >= exp) {
        return Err(VerifyError::Expired { now });
    }
    if numeric_date(claims, "nbf")?.is_some_and(|nbf| now as f64 + leeway < nbf) {
        return Err(VerifyError::NotYetValid { now });
    }
    Ok(())
}

/// A NumericDate (RFC 7519 §2), which may have a fraction.
pub(crate) fn numeric_date(claims: &Map<String, Value>, name: &'static str) -> Result<Option<f64>, VerifyError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(VerifyError::MalformedClaim(name)),
    }
}

fn check_vc(processed: &Processed) -> Result<(), VerifyError> {
    for place in &processed.places {
        if let Some(PathSegment::Member(name)) = place.path.segments().first()
            && VC_IN_THE_OPEN.contains(&name.as_str())
        {
            return Err(VerifyError::NotSelectivelyDisclosable { path: place.path.clone() });
        }
    }
    match processed.claims.get("vct") {
        None => Err(VerifyError::MissingClaim("vct")),
        Some(Value::String(_)) => Ok(()),
        Some(_) => Err(VerifyError::MalformedClaim("vct")),
    }
}

/// The values of `typ` that mark an SD-JWT VC: today's, and the one that earlier drafts had.
pub const VC_TYPES: [&str; 2] = ["dc+sd-jwt", "vc+sd-jwt"];

/// draft-ietf-oauth-sd-jwt-vc §3.2.2.2.
const VC_IN_THE_OPEN: [&str; 7] = ["iss", "nbf", "exp", "cnf", "vct", "vct#integrity", "status"];
