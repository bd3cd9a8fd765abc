//! Which network addresses may be connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses an untrusted URL may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressPolicy {
    /// Only addresses that are routable on the whole internet.
    GlobalOnly,
    /// Only loopback addresses: the operator's own authorization server is a loopback one.
    LoopbackOnly,
}

impl AddressPolicy {
    /// Whether `address` may be connected to.
    #[must_use]
    pub fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::GlobalOnly => is_global(address),
            Self::LoopbackOnly => canonical(address).is_loopback(),
        }
    }
}

/// The IPv4 address inside an IPv6 one, where it is the one that would be reached (RFC 4291 §2.5.5, RFC 6052 §2.1,
/// RFC 8215, RFC 3056, RFC 4380 are refused altogether).
fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

fn is_global(address: IpAddr) -> bool {
    match canonical(address) {
        IpAddr::V4(v4) => is_global_v4(v4),
        IpAddr::V6(v6) => match nat64(v6) {
            Some(v4) => is_global_v4(v4),
            None => is_global_v6(v6),
        },
    }
}

/// The IPv4 address behind the well-known NAT64 prefix `64:ff9b::/96` (RFC 6052 §2.1).
fn nat64(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

/// The IANA special-purpose registry, "globally reachable" being false, plus multicast.
fn is_global_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    !(a == 0
        || v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_multicast()
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || v4.is_documentation()
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240)
}

/// Global unicast (`2000::/3`) without the blocks in it that lead elsewhere: Teredo and the other protocol assignments
/// (`2001::/23`), documentation (`2001:db8::/32`, `3fff::/20`) and 6to4 (`2002::/16`).
fn is_global_v6(v6: Ipv6Addr) -> bool {
    let [first, second, ..] = v6.segments();
    first & 0xe000 == 0x2000
        && !(first == 0x2001 && second < 0x0200)
        && !(first == 0x2001 && second == 0x0db8)
        && first != 0x2002
        && !(first == 0x3fff && second < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_every_address_that_is_not_globally_routable() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "::127.0.0.1",
        ] {
            let address: IpAddr = text.parse().unwrap();
            assert!(!AddressPolicy::GlobalOnly.allows(address), "{text}");
        }
    }

    #[test]
    fn allows_global_addresses_and_their_nat64_form() {
        for text in ["1.1.1.1", "100.128.0.1", "172.32.0.1", "192.0.3.1", "2606:4700::1111", "64:ff9b::101:101"] {
            let address: IpAddr = text.parse().unwrap();
            assert!(AddressPolicy::GlobalOnly.allows(address), "{text}");
            assert!(!AddressPolicy::LoopbackOnly.allows(address), "{text}");
        }
    }

    #[test]
    fn allows_loopback_and_nothing_else_beside_a_loopback_server() {
        for text in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert!(AddressPolicy::LoopbackOnly.allows(text.parse().unwrap()), "{text}");
        }
        for text in ["10.0.0.1", "169.254.169.254", "0.0.0.0", "::", "fd00::1"] {
            assert!(!AddressPolicy::LoopbackOnly.allows(text.parse().unwrap()), "{text}");
        }
    }
}
