//! Read v2 codes as GP systems write them.

/// Prefixes and suffixes of codes that look like Read codes and are not: a supplier's own.
const OWN_PREFIXES: [&str; 5] = ["EMIS", "ESCT", "FUNDHC", "JHCC", "RAFME"];
const OWN_SUFFIXES: [&str; 2] = ["KC60", "SHHAPT"];
const READ_BYTES: usize = 5;

/// The five characters of a Read v2 code: what follows a dash is a synonym id, and short codes
/// are padded with dots. A supplier's own code stays as it is. Case matters.
pub fn normal(code: &str) -> String {
    let code = code.trim();
    let own = OWN_PREFIXES.iter().any(|prefix| code.starts_with(prefix))
        || OWN_SUFFIXES.iter().any(|suffix| code.ends_with(suffix));
    if own {
        return code.to_owned();
    }
    let stem = code.split_once('-').map_or(code, |(stem, _)| stem);
    format!("{stem:.<READ_BYTES$}")
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn five_characters_without_the_synonym() {
        for (written, want) in [
            ("44I4.", "44I4."),
            ("44I4.-1", "44I4."),
            ("44I4", "44I4."),
            ("44F", "44F.."),
            ("44F..-99", "44F.."),
            ("C1541", "C1541"),
            ("EMISNQ12-1", "EMISNQ12-1"),
            ("ESCTAN1-2", "ESCTAN1-2"),
            ("X-1KC60", "X-1KC60"),
            ("ALLERGY1364", "ALLERGY1364"),
            ("xe2q5", "xe2q5"),
        ] {
            assert_eq!(normal(written), want, "{written}");
        }
    }
}
