use dpop::{Htu, Nonce, ProofCheck};

use crate::keys::{ED25519, NOW, sign};
use crate::Outcome;
use crate::input::line;

/// `r`, proof; or `s`, header, line end, claims.
pub(crate) fn verify(input: &[u8]) -> Outcome {
    let Some((kind, mut rest)) = input.split_first() else { return Outcome::Refused };
    let proof = match kind {
        b's' => {
            let header = line(&mut rest);
            sign(&ED25519, header, rest)
        }
        _ => String::from_utf8_lossy(rest).into_owned(),
    };
    let htu = Htu::parse("https://as.example/token").expect("a URI");
    let nonce = Nonce::parse("n-1").expect("a nonce");
    let plain = ProofCheck::new("POST", &htu, NOW).verify(&proof);
    let strict = ProofCheck::new("POST", &htu, NOW).access_token("token").nonce(&nonce).verify(&proof);
    // Who asks for more gets no more.
    assert!(plain.is_ok() || strict.is_err());
    if let Ok(verified) = &plain {
        assert!((1..=256).contains(&verified.jti().len()));
        assert!((NOW - 60..=NOW + 60).contains(&verified.iat()));
    }
    (&plain).into()
}

/// What was normalised once stays as it is.
pub(crate) fn htu(input: &[u8]) -> Outcome {
    let Ok(text) = core::str::from_utf8(input) else { return Outcome::Refused };
    let htu = Htu::parse(text);
    if let Ok(htu) = &htu {
        assert_eq!(Htu::parse(htu.as_str()).as_ref(), Ok(htu));
        assert!(!htu.as_str().contains(['?', '#', '"', '\\']));
    }
    (&htu).into()
}
