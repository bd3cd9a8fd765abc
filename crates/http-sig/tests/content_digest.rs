//! `Content-Digest`: the examples of RFC 9530 Appendices B and D, and what is refused.

use http_sig::{ContentDigest, DigestAlg, DigestError};

const HELLO: &[u8] = b"{\"hello\": \"world\"}";
const HELLO_LF: &[u8] = b"{\"hello\": \"world\"}\n";

#[test]
fn verifies_the_examples_of_rfc_9530() {
    // The octets that have the printed digests; the drafts' dump of them starts 8B 08.
    let brotli = b"\x0b\x09\x80\x7b\x22\x68\x65\x6c\x6c\x6f\x22\x3a\x20\x22\x77\x6f\x72\x6c\x64\x22\x7d\x0a\x03";
    for (section, body, value) in [
        ("B.1", HELLO_LF, "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"),
        ("B.2", b"", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"),
        ("B.3", b"\"world\"}\n", "sha-256=:jjcgBDWNAtbYUXI37CVG3gRuGOAjaaDRGpIUFsdyepQ=:"),
        ("B.4", brotli, "sha-256=:d435Qo+nKZ+gLcUHn7GQtQ72hiBVAgqoLsZnZPiTGPk=:"),
        (
            "B.6",
            brotli,
            "sha-256=:d435Qo+nKZ+gLcUHn7GQtQ72hiBVAgqoLsZnZPiTGPk=:,\
             sha-512=:db7fdBbgZMgX1Wb2MjA8zZj+rSNgfmDCEEXM8qLWfpfoNY0sCpHAzZbj09X1/7HAb7Od5Qfto4QpuBsFbUO3dQ==:",
        ),
        (
            "C.2",
            HELLO_LF,
            "sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:",
        ),
        (
            "D",
            HELLO,
            "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:, \
             sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:, md5=:Sd/dVLAcvNLSq16eXua5uQ==:, unixsum=:GQU=:",
        ),
    ] {
        let digest = ContentDigest::parse(value).unwrap();
        assert_eq!(digest.verify(body), Ok(()), "{section}");
        let mut other = body.to_vec();
        other.push(b' ');
        assert!(matches!(digest.verify(&other), Err(DigestError::Mismatch(_))), "{section}");
    }
}

#[test]
fn every_known_digest_has_to_match() {
    let good_256 = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
    let bad_512 = "sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:";
    let digest = ContentDigest::parse(&format!("{good_256}, {bad_512}")).unwrap();
    assert_eq!(digest.verify(HELLO), Err(DigestError::Mismatch(DigestAlg::Sha512)));
    assert!(digest.has(DigestAlg::Sha256) && digest.has(DigestAlg::Sha512));
}

#[test]
fn of_a_repeated_algorithm_the_last_counts() {
    let (hello, hello_lf) =
        (":X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:", ":RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:");
    let digest = ContentDigest::parse(&format!("sha-256={hello}, sha-256={hello_lf}")).unwrap();
    assert_eq!(digest.verify(HELLO), Err(DigestError::Mismatch(DigestAlg::Sha256)));
    assert_eq!(digest.verify(HELLO_LF), Ok(()));
}

#[test]
fn ignores_unknown_algorithms_but_not_their_absence() {
    let known = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
    assert_eq!(ContentDigest::parse(&format!("new=(1 2), {known}, md5=1")).unwrap().verify(HELLO), Ok(()));
    for none in ["", "md5=:Sd/dVLAcvNLSq16eXua5uQ==:", "sha-257=?1"] {
        assert_eq!(ContentDigest::parse(none), Err(DigestError::NoKnownAlgorithm), "{none:?}");
    }
}

#[test]
fn refuses_malformed_values() {
    for bad in [
        "sha-256",
        "sha-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=",
        "sha-256=\"X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=\"",
        "sha-256=(:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:)",
        "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBA==:",
        "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg==:", // over-padded, as RFC 9530 B.5 prints it
        "sha-256=::",
        "SHA-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
        "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:,",
    ] {
        assert_eq!(ContentDigest::parse(bad), Err(DigestError::Malformed), "{bad:?}");
    }
}

#[test]
fn reads_the_field_from_a_header_section() {
    let lines: &[(&str, &[u8])] = &[
        ("Content-Digest", b"sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"),
        ("content-digest", b"md5=:Sd/dVLAcvNLSq16eXua5uQ==:"),
    ];
    assert_eq!(ContentDigest::from_fields(lines).unwrap().unwrap().verify(HELLO), Ok(()));
    assert_eq!(ContentDigest::from_fields(&[("content-type", &b"x"[..])]), Ok(None));
    assert_eq!(ContentDigest::from_fields(&[("content-digest", &b"\xff"[..])]), Err(DigestError::Malformed));
}

#[test]
fn writes_the_algorithms_asked_for_in_order() {
    assert_eq!(
        ContentDigest::field_value(HELLO, &[DigestAlg::Sha512, DigestAlg::Sha256]),
        "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:, \
         sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
    );
}
