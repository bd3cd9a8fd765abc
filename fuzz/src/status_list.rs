use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use jose::base64url;
use oid4ac_client::StatusList;

use crate::Outcome;

/// `r`, text; `g`, octets that are encoded first; or `s`, octets that are compressed and encoded first.
pub(crate) fn decode(input: &[u8]) -> Outcome {
    let Some((kind, rest)) = input.split_first() else { return Outcome::Refused };
    let encoded = match kind {
        b's' => {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(rest).expect("memory takes everything");
            base64url::encode(&gzip.finish().expect("memory takes everything"))
        }
        b'g' => base64url::encode(rest),
        _ => String::from_utf8_lossy(rest).into_owned(),
    };
    let list = StatusList::decode(&encoded);
    if let Ok(list) = &list {
        assert!(list.bit(list.len() - 1).is_some() && list.bit(list.len()).is_none() && list.bit(u64::MAX).is_none());
        if *kind == b's' {
            assert_eq!(list.len(), rest.len() as u64 * 8);
            assert_eq!(list.bit(0), Some(rest[0] & 0x80 != 0));
            assert_eq!(list.bit(list.len() - 1), rest.last().map(|octet| octet & 1 != 0));
        }
    } else {
        assert!(*kind != b's' || rest.is_empty() || rest.len() > 2 << 20);
    }
    (&list).into()
}
