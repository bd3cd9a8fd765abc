//! The key of a purchase at its merchant.

/// The key under which a merchant settles a purchase at most once: 1 to 128 characters. One of our own making has 128
/// random bits; it is never derived from the purchase.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// A new key.
    #[must_use]
    pub fn generate(rng: &dyn jose::Rng) -> Self {
        Self(jose::random_token::<16>(rng))
    }

    /// A key that was stored. `None` if it is empty, longer than 128 octets or has other than printable ASCII.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
