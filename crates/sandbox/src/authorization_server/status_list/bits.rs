//! The bits of the status list.

use bytes::Bytes;
use http::HeaderValue;
use jose::{Rng, UnixSeconds};

/// The bits, and the credential that was last made of them.
pub(in crate::authorization_server) struct StatusList {
    pub(super) revoked: Vec<u8>,
    allocated: Vec<u8>,
    free: usize,
    pub(super) published: Option<Published>,
}

#[derive(Clone)]
pub(super) struct Published {
    pub(super) at: UnixSeconds,
    pub(super) etag: HeaderValue,
    pub(super) body: Bytes,
}

impl StatusList {
    pub(in crate::authorization_server) fn new() -> Self {
        Self { revoked: vec![0; BITS / 8], allocated: vec![0; BITS / 8], free: BITS, published: None }
    }

    /// A random index that no mandate has, so that neighbours tell nothing. `None` when all are taken.
    pub(in crate::authorization_server) fn allocate(&mut self, rng: &dyn Rng) -> Option<usize> {
        if self.free == 0 {
            return None;
        }
        let mut octets = [0; 4];
        rng.fill(&mut octets);
        let start = u32::from_be_bytes(octets) as usize % BITS;
        let index = (start..BITS).chain(0..start).find(|&index| !bit(&self.allocated, index))?;
        set_bit(&mut self.allocated, index);
        self.free -= 1;
        Some(index)
    }

    /// Revokes. The next request gets a new credential.
    pub(in crate::authorization_server) fn revoke(&mut self, index: usize) {
        set_bit(&mut self.revoked, index);
        self.published = None;
    }
}

/// Bit 0 is the most significant bit of the first octet.
fn bit(octets: &[u8], index: usize) -> bool {
    octets.get(index / 8).is_some_and(|octet| octet & (0x80 >> (index % 8)) != 0)
}

fn set_bit(octets: &mut [u8], index: usize) {
    if let Some(octet) = octets.get_mut(index / 8) {
        *octet |= 0x80 >> (index % 8);
    }
}

/// The least that W3C StatusList2021 allows: herd privacy.
const BITS: usize = 131_072;

#[cfg(test)]
mod tests {
    use super::*;

    struct Zero;
    impl Rng for Zero {
        fn fill(&self, out: &mut [u8]) {
            out.fill(0);
        }
    }

    #[test]
    fn counts_bits_from_the_most_significant_of_the_first_octet() {
        let mut list = StatusList::new();
        list.revoke(0);
        list.revoke(9);
        assert_eq!(list.revoked[..2], [0x80, 0x40]);
    }

    #[test]
    fn gives_no_index_twice_and_none_when_all_are_taken() {
        let mut list = StatusList::new();
        assert_eq!((list.allocate(&Zero), list.allocate(&Zero)), (Some(0), Some(1)));
        list.allocated.fill(0xff);
        assert_eq!(list.allocate(&Zero), None);
    }
}
