//! Words of syllables, some far more often than others, as in any language.

use rand::{Rng, rngs::StdRng};

const WORDS: usize = 60_000;
const SYLLABLES: [&str; 24] = [
    "ba", "co", "de", "fi", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "va", "we", "xi", "yo",
    "za", "ster", "lin", "oma", "itis",
];
const TAGS: [&str; 6] = ["disorder", "finding", "procedure", "substance", "product", "observable entity"];

pub struct Words(Vec<String>);

impl Words {
    pub fn new(random: &mut StdRng) -> Self {
        let word = |random: &mut StdRng| {
            let count = random.random_range(2..5);
            (0..count).map(|_| SYLLABLES[random.random_range(0..SYLLABLES.len())]).collect()
        };
        Self((0..WORDS).map(|_| word(random)).collect())
    }

    /// Two to seven words; the first of the list are the frequent ones.
    pub fn term(&self, random: &mut StdRng) -> String {
        let mut term = String::new();
        for nth in 0..random.random_range(2..8) {
            let skewed = random.random::<f64>().powi(4);
            let word = &self.0[(skewed * (WORDS - 1) as f64) as usize];
            if nth > 0 {
                term.push(' ');
            }
            term.push_str(word);
        }
        term
    }

    pub fn tag(&self, concept: u64) -> &'static str {
        TAGS[(concept / 1_000 % TAGS.len() as u64) as usize]
    }
}
