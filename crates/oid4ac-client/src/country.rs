use core::fmt;

/// A country by its ISO 3166-1 alpha-2 code, upper-case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// Reads a code that is officially assigned; case does not matter.
    ///
    /// # Errors
    ///
    /// - [`InvalidCountry`] for anything else.
    pub fn parse(code: &str) -> Result<Self, InvalidCountry> {
        let upper = code.to_ascii_uppercase();
        let letters: [u8; 2] = upper.as_bytes().try_into().map_err(|_| InvalidCountry)?;
        let is_assigned = ASSIGNED.split(' ').any(|known| known.as_bytes() == letters);
        is_assigned.then_some(Self(letters)).ok_or(InvalidCountry)
    }

    /// The two letters.
    #[must_use]
    pub fn code(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// The text is no country's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an ISO 3166-1 alpha-2 code")]
#[non_exhaustive]
pub struct InvalidCountry;

/// The codes that ISO 3166-1 assigns, and no reserved or user-assigned one.
const ASSIGNED: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT \
    BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK \
    FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE \
    JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ \
    MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO \
    RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW \
    TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_assigned_and_nothing_else() {
        assert_eq!(Country::parse("nl").unwrap().code(), "NL");
        assert_eq!(ASSIGNED.split(' ').count(), 249);
        for code in ["", "N", "NLD", "XX", "UK", "ZZ", "N ", "é", " "] {
            assert_eq!(Country::parse(code), Err(InvalidCountry), "{code:?}");
        }
    }
}
