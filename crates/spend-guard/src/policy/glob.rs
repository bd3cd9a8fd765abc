//! Globs: `*` stands for any characters and `?` for one.

/// Whether `text` matches `glob`, where `*` stands for any characters and `?` for one. Linear but for the last `*`, to
/// which alone it goes back.
pub(super) fn matches_glob(glob: &str, text: &str) -> bool {
    let (glob, text) = (glob.as_bytes(), text.as_bytes());
    let (mut g, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                back = Some((g, t));
                g += 1;
            }
            Some(octet) if *octet == b'?' || *octet == text[t] => {
                g += 1;
                t += 1;
            }
            _ => match back {
                None => return false,
                Some((star, from)) => {
                    back = Some((star, from + 1));
                    g = star + 1;
                    t = from + 1;
                }
            },
        }
    }
    glob[g..].iter().all(|octet| *octet == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_matches_as_a_naive_one_does() {
        fn naive(glob: &[u8], text: &[u8]) -> bool {
            match (glob.split_first(), text.split_first()) {
                (None, None) => true,
                (Some((b'*', rest)), _) if naive(rest, text) => true,
                (Some((b'*', _)), Some((_, text))) => naive(glob, text),
                (Some((g, glob)), Some((t, text))) => (*g == b'?' || g == t) && naive(glob, text),
                _ => false,
            }
        }
        use proptest::prelude::*;
        proptest!(|(glob in "[ab*?]{0,7}", text in "[ab]{0,9}")| {
            prop_assert_eq!(matches_glob(&glob, &text), naive(glob.as_bytes(), text.as_bytes()));
        });
    }
}
