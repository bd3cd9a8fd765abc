//! What OID4AC allows where: the algorithm allow-list and the fixed names.

use jose::Alg;

/// Tokens that an authorization server issues: access tokens, mandates, status lists.
pub(crate) const AS_TOKENS: &[Alg] = &[Alg::EdDsa];
/// KB-JWTs.
pub(crate) const KEY_BINDING: &[Alg] = &[Alg::EdDsa];
/// Receipts.
pub(crate) const RECEIPTS: &[Alg] = &[Alg::EdDsa, Alg::Es256];
/// HTTP message signatures over offers and catalogs.
pub(crate) const HTTP_SIGNATURES: &[Alg] = &[Alg::EdDsa, Alg::Es256];

pub(crate) const ACCESS_TOKEN_TYP: &[&str; 1] = &["at+jwt"];
/// The draft's old and new names, and the one that public examples of OID4AC use.
pub(crate) const MANDATE_TYP: &[&str; 3] = &["vc+sd-jwt", "dc+sd-jwt", "sd-jwt-vc"];
pub(crate) const RECEIPT_TYP: &[&str; 1] = &["oid4ac-receipt+jwt"];

pub(crate) const AUDIT_HEAD_TYP: &[&str; 1] = &["oid4ac-audit-head+jwt"];

pub(crate) const MANDATE_VCT: &str = "https://schema.oid4pay.com/oid4ac/mandate/v1";
pub(crate) const MANDATE_VERSION: &str = "1.0";
pub(crate) const MANDATE_MAX_LIFE_SECONDS: i64 = 900;

pub(crate) const OFFER_MAX_LIFE_SECONDS: u32 = 300;
pub(crate) const CATALOG_MAX_LIFE_SECONDS: u32 = 600;
pub(crate) const SIGNATURE_SKEW_SECONDS: u32 = 60;

/// How far an authorization server's clock may be off when the holder looks at what it got. The merchant decides in the end.
pub(crate) const CLOCK_LEEWAY_SECONDS: u32 = 30;
