use jose::json::InvalidJson;
use jose::{InvalidJwk, JwsError, SignError, UnixSeconds};

use crate::ClaimPath;

/// Why an SD-JWT is refused: its form, its issuer's signature, its disclosures or its times (RFC 9901 §7.1).
///
/// `index` counts the token's disclosures from 0. Paths hold claim names and positions; no value, salt or digest is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Longer than [`MAX_OCTETS`](crate::MAX_OCTETS).
    #[error("the SD-JWT is too large")]
    TooLarge,
    /// There is no `~`: this is a JWT, or nothing of the kind ([`complete`](crate::complete) adds one where a profile says so).
    #[error("the SD-JWT has no `~`")]
    NoTilde,
    /// More disclosures than [`MAX_DISCLOSURES`](crate::MAX_DISCLOSURES).
    #[error("the SD-JWT has too many disclosures")]
    TooManyDisclosures,
    /// The issuer-signed JWT is refused as a JWS.
    #[error("the issuer-signed JWT is refused: {0}")]
    Jws(#[from] JwsError),
    /// A KB-JWT stands at the end where none is expected.
    #[error("the SD-JWT has a KB-JWT, but none is expected here")]
    UnexpectedKeyBinding,
    /// No KB-JWT stands at the end where one is required (RFC 9901 §7.3 step 1).
    #[error("the SD-JWT has no KB-JWT, but key binding is required")]
    MissingKeyBinding,

    /// There is nothing between two `~`.
    #[error("disclosure {index} is empty")]
    EmptyDisclosure {
        /// Which one.
        index: usize,
    },
    /// The disclosure is not strict base64url.
    #[error("disclosure {index} is not base64url")]
    DisclosureBase64Url {
        /// Which one.
        index: usize,
    },
    /// The disclosure is not JSON, or has a duplicate member.
    #[error("disclosure {index} is not JSON: {source}")]
    DisclosureJson {
        /// Which one.
        index: usize,
        /// Where, and whether a duplicate member was the reason.
        source: InvalidJson,
    },
    /// The disclosure is not an array of two or three items (RFC 9901 §7.1 step 3.c).
    #[error("disclosure {index} is not an array of two or three items")]
    DisclosureNotTuple {
        /// Which one.
        index: usize,
    },
    /// The disclosure's salt is not a string.
    #[error("the salt of disclosure {index} is not a string")]
    DisclosureSalt {
        /// Which one.
        index: usize,
    },
    /// The disclosure's claim name is not a string.
    #[error("the claim name of disclosure {index} is not a string")]
    DisclosureName {
        /// Which one.
        index: usize,
    },
    /// The disclosure's claim name is `_sd`, `_sd_alg` or `...`.
    #[error("the claim name of disclosure {index} is reserved")]
    ReservedClaimName {
        /// Which one.
        index: usize,
    },
    /// The same disclosure stands there twice.
    #[error("disclosure {index} repeats an earlier one")]
    RepeatedDisclosure {
        /// The second of the two.
        index: usize,
    },
    /// No digest, in the payload or in another disclosure, is this disclosure's (RFC 9901 §7.1 step 5).
    #[error("disclosure {index} is referenced by no digest")]
    UnreferencedDisclosure {
        /// Which one.
        index: usize,
    },
    /// An `_sd` array refers to a disclosure of two items, which is an array element's.
    #[error("disclosure {index} is for an array element, but an `_sd` array refers to it")]
    ElementDisclosureInObject {
        /// Which one.
        index: usize,
    },
    /// An array element refers to a disclosure of three items, which is an object member's.
    #[error("disclosure {index} is for an object member, but an array element refers to it")]
    MemberDisclosureInArray {
        /// Which one.
        index: usize,
    },

    /// `_sd_alg` is not the string `sha-256`.
    #[error("`_sd_alg` is not sha-256")]
    UnsupportedSdAlg,
    /// `_sd_alg` below the top level (RFC 9901 §4.1.1).
    #[error("`_sd_alg` is below the top level, in \"{path}\"")]
    MisplacedSdAlg {
        /// The object that has it.
        path: ClaimPath,
    },
    /// `_sd` is not an array.
    #[error("`_sd` is not an array, in the object at \"{path}\"")]
    SdNotArray {
        /// The object that has it.
        path: ClaimPath,
    },
    /// An item of `_sd`, or the value of `...`, is not a string.
    #[error("a digest is not a string, in \"{path}\"")]
    DigestNotString {
        /// The object that has it.
        path: ClaimPath,
    },
    /// `...` in an object that is no array element, or that has other members as well (RFC 9901 §4.2.4.2).
    #[error("`...` is not the only member of an array element, at \"{path}\"")]
    MisplacedEllipsis {
        /// The object that has it.
        path: ClaimPath,
    },
    /// One digest occurs twice (RFC 9901 §7.1 step 4).
    #[error("a digest occurs twice")]
    RepeatedDigest,
    /// A disclosed claim has the name of one that is already there.
    #[error("the disclosed claim {path} is already there")]
    ClaimCollision {
        /// The claim.
        path: ClaimPath,
    },
    /// With the disclosures in place, the claims are nested deeper than [`MAX_DEPTH`](crate::MAX_DEPTH).
    #[error("the claims are nested too deep")]
    TooDeep,

    /// The claim is required and not there.
    #[error("the claim `{0}` is missing")]
    MissingClaim(&'static str),
    /// The claim is there, but `null` or of another wrong type.
    #[error("the claim `{0}` is malformed")]
    MalformedClaim(&'static str),
    /// `exp` has passed.
    #[error("the SD-JWT expired: it is {now}")]
    Expired {
        /// The verifier's time.
        now: UnixSeconds,
    },
    /// `nbf` has not come.
    #[error("the SD-JWT is not valid yet: it is {now}")]
    NotYetValid {
        /// The verifier's time.
        now: UnixSeconds,
    },
    /// `iat` lies ahead, and the policy refuses that.
    #[error("the SD-JWT was issued in the future: it is {now}")]
    IssuedInFuture {
        /// The verifier's time.
        now: UnixSeconds,
    },
    /// A claim that the SD-JWT VC draft does not allow to be disclosed selectively came, in whole or in part, from a disclosure.
    #[error("the claim {path} must not be selectively disclosable")]
    NotSelectivelyDisclosable {
        /// The claim.
        path: ClaimPath,
    },
}

/// Why key binding is not proved (RFC 9901 §7.3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyBindingError {
    /// The KB-JWT is refused as a JWS: form, `alg`, `typ`, embedded key, signature.
    #[error("the KB-JWT is refused: {0}")]
    Jws(#[from] JwsError),
    /// Neither the SD-JWT nor the caller says whose key it has to be.
    #[error("the SD-JWT names no holder key")]
    NoHolderKey,
    /// `cnf`, `cnf.jwk` or `cnf.jkt` has the wrong type or form.
    #[error("the SD-JWT's `cnf` is malformed")]
    MalformedCnf,
    /// `cnf.jwk` is no usable public key.
    #[error("the SD-JWT's `cnf.jwk` is refused: {0}")]
    HolderKey(#[source] InvalidJwk),
    /// A key is at hand, but `cnf` is about another.
    #[error("the key is not the one that `cnf` names")]
    NotTheHolderKey,
    /// The claim is missing, `null` or of another wrong type.
    #[error("the KB-JWT's claim `{0}` is missing or malformed")]
    Claim(&'static str),
    /// `aud` is not the verifier.
    #[error("the KB-JWT is for another audience")]
    AudienceMismatch,
    /// `nonce` is not one the verifier gave.
    #[error("the KB-JWT's nonce is not the one expected")]
    NonceMismatch,
    /// `sd_hash` is not the digest of what came with it.
    #[error("the KB-JWT's sd_hash is of another presentation")]
    SdHashMismatch,
    /// `iat` is older than the age allowed, or further ahead than the skew allowed.
    #[error("the KB-JWT's iat is outside the window: it is {now}")]
    IatOutsideWindow {
        /// The verifier's time.
        now: UnixSeconds,
    },
    /// `exp` has passed.
    #[error("the KB-JWT expired: it is {now}")]
    Expired {
        /// The verifier's time.
        now: UnixSeconds,
    },
    /// `nbf` has not come.
    #[error("the KB-JWT is not valid yet: it is {now}")]
    NotYetValid {
        /// The verifier's time.
        now: UnixSeconds,
    },
}

/// Why an SD-JWT is not issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The claims have a member named `_sd`, `_sd_alg` or `...`, in this object.
    #[error("a member of the object at \"{path}\" has a reserved name")]
    ReservedClaimName {
        /// The object that has it.
        path: ClaimPath,
    },
    /// The path leads nowhere.
    #[error("there is no claim {path}")]
    NoSuchClaim {
        /// The path as given.
        path: ClaimPath,
    },
    /// The path was given twice.
    #[error("the claim {path} is made disclosable twice")]
    RepeatedPath {
        /// The path as given.
        path: ClaimPath,
    },
    /// A verifier cannot do without the claim: `iss`, `aud`, `exp`, `nbf`, or `cnf` and what is in it (RFC 9901 §9.7).
    #[error("the claim {path} must not be selectively disclosable")]
    NotSelectivelyDisclosable {
        /// The path as given.
        path: ClaimPath,
    },
    /// Decoys belong into an object or an array; here is neither.
    #[error("there is no object or array at \"{path}\" to put decoys into")]
    NoContainer {
        /// The path as given.
        path: ClaimPath,
    },
    /// The claims are nested deeper than [`MAX_DEPTH`](crate::MAX_DEPTH), there are more disclosures than
    /// [`MAX_DISCLOSURES`](crate::MAX_DISCLOSURES), or the token is longer than [`MAX_OCTETS`](crate::MAX_OCTETS) or its
    /// issuer-signed JWT than a JWS may be: no verifier that has our limits would take it.
    #[error("the claims exceed a limit")]
    LimitExceeded,
    /// The signing key could not be used.
    #[error(transparent)]
    Sign(#[from] SignError),
}
