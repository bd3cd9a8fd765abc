use crate::Alg;

/// The octets of a public key, as its JWK has them: not yet checked to be a point.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    Ed25519([u8; 32]),
    P256([u8; 32], [u8; 32]),
}

impl Point {
    pub(crate) fn alg(&self) -> Alg {
        match self {
            Self::Ed25519(_) => Alg::EdDsa,
            Self::P256(..) => Alg::Es256,
        }
    }
}
