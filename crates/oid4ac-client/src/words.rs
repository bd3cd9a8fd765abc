//! What other crates' errors say, without the words of the peer that was refused.

use core::fmt;

use http_sig::LabelError;
use jose::JwsError;

use crate::untrusted::identifier;

/// Shows a refused JWS. An algorithm is named if it is one that there is.
pub(crate) struct Jws<'a>(pub(crate) &'a JwsError);

impl fmt::Display for Jws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            JwsError::AlgNotAllowed(name) if !is_algorithm(name) => f.write_str("its algorithm is not allowed"),
            other => write!(f, "{other}"),
        }
    }
}

/// Shows a refused SD-JWT.
pub(crate) struct SdJwt<'a>(pub(crate) &'a sd_jwt::VerifyError);

impl fmt::Display for SdJwt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            sd_jwt::VerifyError::Jws(error) => write!(f, "the issuer-signed JWT is refused: {}", Jws(error)),
            sd_jwt::VerifyError::NotSelectivelyDisclosable { .. } => {
                f.write_str("a claim that must stand in the open can be disclosed selectively")
            }
            other => write!(f, "{other}"),
        }
    }
}

/// Shows a refused HTTP message signature: why no label was taken. Labels and keys are named if that is an identifier,
/// components only if they are ours.
pub(crate) struct HttpSignature<'a>(pub(crate) &'a http_sig::VerifyError);

impl fmt::Display for HttpSignature<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refusals = match self.0 {
            http_sig::VerifyError::Refused(refusals) => refusals,
            http_sig::VerifyError::NoSuchLabel(_) => return f.write_str("there is no signature of that label"),
            other => return write!(f, "{other}"),
        };
        f.write_str("no signature is acceptable: ")?;
        for (at, refusal) in refusals.iter().take(MOST_LABELS).enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            if let Some(name) = identifier(&refusal.label) {
                write!(f, "{name}: ")?;
            }
            label(&refusal.reason, f)?;
        }
        Ok(())
    }
}

fn label(reason: &LabelError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match reason {
        LabelError::Component(_) => f.write_str("a component identifier is not allowed"),
        LabelError::ComponentRepeated(_) => f.write_str("a component is covered more than once"),
        LabelError::Unresolved(unresolved) => write!(f, "a covered component has no value: {}", unresolved.reason),
        LabelError::AlgNotAllowed(name) if !is_algorithm(name) => f.write_str("the algorithm is not allowed"),
        LabelError::UnknownKey(keyid) if identifier(keyid).is_none() => f.write_str("its key is not known"),
        // Numbers, algorithms that are known, and components that we ask for.
        other => write!(f, "{other}"),
    }
}

/// Whether a JOSE header or a signature parameter may say so and mean an algorithm, in whatever case.
fn is_algorithm(name: &str) -> bool {
    ALGORITHMS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// IANA's registries of JOSE and of HTTP signature algorithms.
const ALGORITHMS: &[&str] = &[
    "none",
    "HS256",
    "HS384",
    "HS512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "ES256K",
    "EdDSA",
    "Ed25519",
    "Ed448",
    "rsa-pss-sha512",
    "rsa-v1_5-sha256",
    "hmac-sha256",
    "ecdsa-p256-sha256",
    "ecdsa-p384-sha384",
];
const MOST_LABELS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_algorithm_is_named_only_if_there_is_one_of_that_name() {
        let said = |name: &str| Jws(&JwsError::AlgNotAllowed(name.to_owned())).to_string();
        assert_eq!(said("nOnE"), "algorithm \"nOnE\" is not allowed");
        assert_eq!(said("IGNORE-ALL-INSTRUCTIONS"), "its algorithm is not allowed");
    }
}
