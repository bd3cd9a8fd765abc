//! How messages come in and go out.

pub(super) mod line_cap;
