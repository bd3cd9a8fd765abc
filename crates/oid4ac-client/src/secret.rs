use core::fmt;

use zeroize::Zeroizing;

/// Declares text that must not be shown: `Debug` is redacted, there is no `Display`, it is wiped when dropped and compared
/// in constant time. It is read through `expose`.
macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(crate::secret::SecretText);

        impl $name {
            /// Takes the text as it is.
            #[must_use]
            pub fn new(text: impl Into<String>) -> Self {
                Self(crate::secret::SecretText::new(text.into()))
            }

            /// The text. Keep it out of messages and logs.
            #[must_use]
            pub fn expose(&self) -> &str {
                self.0.expose()
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(concat!(stringify!($name), "([redacted])"))
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                jose::constant_time_eq(self.expose().as_bytes(), other.expose().as_bytes())
            }
        }

        impl Eq for $name {}
    };
}

#[derive(Clone)]
pub(crate) struct SecretText(Zeroizing<String>);

impl SecretText {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

secret!(
    /// A one-shot setup token from the wallet portal, which binds the new agent to its principal.
    SetupToken
);
secret!(
    /// An access token (RFC 6749 §1.4).
    AccessToken
);
secret!(
    /// A refresh token (RFC 6749 §1.5).
    RefreshToken
);
secret!(
    /// An authorization code (RFC 6749 §4.1.2).
    Code
);
secret!(
    /// A PKCE code verifier (RFC 7636 §4.1).
    CodeVerifier
);
secret!(
    /// The `state` of an authorization request (RFC 6749 §4.1.1).
    State
);

/// The two names of tokens in an answer, and as a `token_type_hint` (RFC 7009 §2.1).
pub(crate) const REFRESH_TOKEN: &str = "refresh_token";
pub(crate) const ACCESS_TOKEN: &str = "access_token";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn does_not_print_what_it_holds() {
        for shown in [
            format!("{:?}", SetupToken::new("hunter2")),
            format!("{:?}", AccessToken::new("hunter2")),
            format!("{:?}", Some(RefreshToken::new("hunter2"))),
            format!("{:?}", [Code::new("hunter2")]),
            format!("{:#?}", CodeVerifier::new("hunter2")),
            format!("{:?}", State::new("hunter2")),
        ] {
            assert!(shown.contains("[redacted]") && !shown.contains("hunter"), "{shown}");
        }
    }
}
