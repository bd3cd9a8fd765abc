//! Scopes (RFC 6749 §3.3).

use core::fmt;

/// A set of scope tokens in the order given.
///
/// `payment:initiate` and `oid4ac:payment` are two names of one permission: each covers the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope(Vec<String>);

impl Scope {
    /// Reads `scope-token *( SP scope-token )`. `None` for the empty string, other characters, or over 32 tokens.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut tokens: Vec<String> = Vec::new();
        for token in text.split(' ') {
            // scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
            let fits = !token.is_empty() && token.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
            if !fits || tokens.len() == MAX_TOKENS {
                return None;
            }
            if !tokens.iter().any(|earlier| earlier == token) {
                tokens.push(token.to_owned());
            }
        }
        Some(Self(tokens))
    }

    /// What a client gets that registers without naming a scope.
    pub(crate) fn all() -> Self {
        Self(SUPPORTED.iter().map(|&token| token.to_owned()).collect())
    }

    pub(crate) fn contains(&self, token: &str) -> bool {
        self.0.iter().any(|own| own == token || (is_payment(own) && is_payment(token)))
    }

    /// Whether every token of `other` is in here.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|token| self.contains(token))
    }

    /// Whether it permits payments.
    pub(crate) fn permits_payment(&self) -> bool {
        self.0.iter().any(|token| is_payment(token))
    }

    /// Whether it is `openid` and nothing else: nothing a principal would have to grant.
    pub(crate) fn is_agent_only(&self) -> bool {
        self.0 == ["openid"]
    }

    /// Whether this server knows every token.
    pub(crate) fn is_supported(&self) -> bool {
        self.0.iter().all(|token| SUPPORTED.contains(&token.as_str()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

fn is_payment(token: &str) -> bool {
    matches!(token, "payment:initiate" | "oid4ac:payment")
}

/// Every scope there is.
pub(crate) const SUPPORTED: [&str; 7] =
    ["openid", "payment:initiate", "oid4ac:payment", "wallet:read", "wallet:write", "audit:read", "privacy:dsar"];
const MAX_TOKENS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_name_of_the_payment_scope_covers_the_other() {
        let registered = Scope::parse("openid payment:initiate").unwrap();
        assert!(registered.covers(&Scope::parse("openid oid4ac:payment").unwrap()));
        assert!(!registered.covers(&Scope::parse("openid wallet:read").unwrap()));
    }

    #[test]
    fn refuses_double_spaces_and_quotes() {
        for text in ["", " ", "a  b", "a\"b", "a\tb"] {
            assert_eq!(Scope::parse(text), None, "{text:?}");
        }
    }
}
