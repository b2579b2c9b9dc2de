//! `medicines.toml`: which products hold which ingredient, and what tells that a patient depends on steroids.
//!
//! # Why
//! A brand does not look like its ingredient, and a word inside another word means nothing ("gelatine" is no gel). So
//! codes decide where a source gives them; names are compared word by word; and whatever was found by its words alone
//! says so. Facts stand in the site's file with where they were read, never here.

use serde::Deserialize;
use settings::Document;
use std::collections::BTreeSet;
use terminology::{Release, sctid::is_concept, sets::ConceptSets};

pub const INGREDIENTS_MAX: usize = 20_000;
/// The document that is shipped.
const SHIPPED: &str = include_str!("../../../site/medicines.toml");
const SHIPPED_NAME: &str = "site/medicines.toml";

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Guideline {
    pub name: String,
    pub url: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Forms {
    local: Vec<String>,
    systemic: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    id: String,
    what: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Ingredient {
    pub name: String,
    #[serde(default)]
    glucocorticoid: bool,
    /// Its name alone does not mean that it acts in the whole body.
    #[serde(default)]
    mostly_local: bool,
    #[serde(default)]
    words: Vec<String>,
    #[serde(default)]
    brands: Vec<String>,
    #[serde(default)]
    codes: BTreeSet<String>,
    #[serde(default)]
    systemic_codes: BTreeSet<String>,
    /// What rules call it together with others: `ace-inhibitor`.
    #[serde(default)]
    classes: BTreeSet<String>,
    source: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Problem {
    name: String,
    /// Concept sets of the site's document, …
    #[serde(default)]
    concept_sets: Vec<String>,
    /// … and what they mean: every concept of them.
    #[serde(skip)]
    snomed: BTreeSet<String>,
    #[serde(default)]
    words: Vec<String>,
}

/// Words and brands are kept as [`words_of`] leaves them. Made only by `parse`; the default knows nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ingredients {
    pub guideline: Guideline,
    local: BTreeSet<String>,
    systemic: BTreeSet<String>,
    ingredients: Vec<Ingredient>,
    problems: Vec<Problem>,
}

/// A product, or a problem, as its source writes it.
#[derive(Clone, Debug, Default)]
pub struct Product<'a> {
    pub text: &'a str,
    /// SNOMED CT and dm+d share one space of identifiers; a local code is compared only by words.
    pub codes: Vec<&'a str>,
    pub dosage: Option<&'a str>,
}

impl<'a> Product<'a> {
    /// `code` is of `system`, which may be a source's own.
    pub fn new(text: &'a str, snomed: Option<&'a str>, system: Option<&str>, code: Option<&'a str>) -> Self {
        let local = system.is_some_and(|system| system.starts_with("urn:"));
        Self { text, codes: snomed.into_iter().chain(code.filter(|_| !local)).collect(), dosage: None }
    }
}

/// By what something was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Code,
    /// The words of its name: no code that is known was told.
    Words,
}

impl Ingredients {
    /// Those of the document that is shipped.
    pub fn shipped() -> Result<Self, Vec<String>> {
        Self::parse(SHIPPED_NAME, SHIPPED)
    }

    /// All mistakes at once, each with file, line and key.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<String>> {
        let named = |mistake: &settings::Mistake| format!("{file}: {mistake}");
        let mut document = match Document::parse(text, std::iter::empty()) {
            Ok(document) => document,
            Err(mistakes) => return Err(mistakes.0.iter().map(named).collect()),
        };
        let guideline: Guideline = document.section("guideline").unwrap_or_default();
        let forms: Forms = document.section("forms").unwrap_or_default();
        let sources: Vec<Source> = document.sections("source");
        let mut ingredients: Vec<Ingredient> = document.sections("ingredient");
        let mut problems: Vec<Problem> = document.sections("problem");
        if !guideline.url.starts_with("https://") || guideline.name.trim().is_empty() {
            document.mistake("guideline", 0, "url", "a guideline has a name and an https address");
        }
        for (index, source) in sources.iter().enumerate().filter(|(_, source)| source.what.trim().is_empty()) {
            document.mistake("source", index, "what", format!("`{}` does not say what was read", source.id));
        }
        let known: BTreeSet<&str> = sources.iter().map(|source| source.id.as_str()).collect();
        check_sources(&mut document, &known, &ingredients);
        document.finish().map_err(|mistakes| mistakes.0.iter().map(named).collect::<Vec<_>>())?;
        for ingredient in &mut ingredients {
            ingredient.words = normal(&ingredient.words);
            ingredient.brands = normal(&ingredient.brands);
        }
        problems.iter_mut().for_each(|problem| problem.words = normal(&problem.words));
        let [local, systemic] = [forms.local, forms.systemic].map(|words| normal(&words).into_iter().collect());
        let mut all = Self { guideline, local, systemic, ingredients, problems };
        // Of the document that is shipped, until the site's own is known.
        let _ = all.close(&ConceptSets::shipped(), None);
        Ok(all)
    }

    /// Takes the concepts of the sets that the problems name; tells every set that is not there.
    pub fn close(&mut self, sets: &ConceptSets, release: Option<&Release>) -> Result<(), Vec<String>> {
        let mut missing = Vec::new();
        for problem in &mut self.problems {
            problem.snomed.clear();
            for name in &problem.concept_sets {
                match sets.members(name, release) {
                    Some(members) => problem.snomed.extend(members),
                    None => missing.push(format!("problem `{}`: there is no concept set `{name}`", problem.name)),
                }
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    /// The one ingredient of a medicine, if it is known. A name with several is nobody's brand.
    pub fn of(&self, product: &Product<'_>) -> Option<&Ingredient> {
        let by_code = |ingredient: &&Ingredient| ingredient.has_code(product);
        if let Some(ingredient) = self.ingredients.iter().find(by_code) {
            return Some(ingredient);
        }
        let words = words_of(product.text);
        let mut named = self.ingredients.iter().filter(|ingredient| ingredient.named_in(&words));
        let several = product.text.contains(" / ") || words.iter().any(|word| word == "with" || word == "and");
        match (named.next(), named.next()) {
            (Some(ingredient), None) if !several => Some(ingredient),
            _ => None,
        }
    }

    /// Every ingredient of a medicine that is known, unless its name says that it acts locally: eye drops with an
    /// antibiotic change no potassium. A combination is all of what it names.
    pub fn all_of(&self, product: &Product<'_>) -> Vec<&Ingredient> {
        let words = words_of(product.text);
        let says = |set: &BTreeSet<String>| words.iter().any(|word| set.contains(word));
        if says(&self.local) && !says(&self.systemic) {
            return Vec::new();
        }
        self.ingredients.iter().filter(|it| it.has_code(product) || it.named_in(&words)).collect()
    }

    /// Whether any ingredient is called so, by its own name or that of a class.
    pub fn knows(&self, name: &str) -> bool {
        self.ingredients.iter().any(|ingredient| ingredient.is_called(name))
    }

    /// Whether it is a steroid that acts in the whole body, and by what that is known. Route and form decide: a code of
    /// a product that does, else a name without a form that acts locally.
    pub fn systemic_steroid(&self, product: &Product<'_>) -> Option<By> {
        let steroids = || self.ingredients.iter().filter(|ingredient| ingredient.glucocorticoid);
        let codes = &product.codes;
        if steroids().any(|ingredient| codes.iter().any(|code| ingredient.systemic_codes.contains(*code))) {
            return Some(By::Code);
        }
        let words = words_of(product.text);
        let says = |words: &[String], set: &BTreeSet<String>| words.iter().any(|word| set.contains(word));
        let systemic = says(&words, &self.systemic);
        // Directions may name what is treated (an eye), so they count only where the name tells no form. A strength in
        // per cent is then that of something put on.
        let put_on = || {
            let directions = words_of(product.dosage.unwrap_or_default());
            says(&directions, &self.local) || product.text.contains('%')
        };
        if says(&words, &self.local) || (!systemic && put_on()) {
            return None;
        }
        let named = |ingredient: &Ingredient| {
            ingredient.has_brand(&words)
                || ((ingredient.has_word(&words) || codes.iter().any(|code| ingredient.codes.contains(*code)))
                    && (!ingredient.mostly_local || systemic))
        };
        steroids().any(named).then_some(By::Words)
    }

    /// Whether somebody with this problem depends on steroids, and by what that is known.
    pub fn steroid_dependence(&self, condition: &Product<'_>) -> Option<By> {
        let has_code = |problem: &Problem| condition.codes.iter().any(|code| problem.snomed.contains(*code));
        if self.problems.iter().any(has_code) {
            return Some(By::Code);
        }
        let words = words_of(condition.text);
        // Somebody else's, or one that is not.
        let first = words.first().map(String::as_str).unwrap_or_default();
        if ["fh", "family", "no", "not"].contains(&first) || words.iter().any(|word| word == "excluded") {
            return None;
        }
        let text = format!(" {} ", words.join(" "));
        let named = |problem: &Problem| problem.words.iter().any(|phrase| text.contains(&format!(" {phrase} ")));
        self.problems.iter().any(named).then_some(By::Words)
    }
}

impl Ingredient {
    /// Whether a rule means it by this name: its own, or that of a class.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.classes.contains(name)
    }

    /// By what rules may call it: its own name first.
    pub fn names(&self) -> Vec<String> {
        std::iter::once(&self.name).chain(&self.classes).cloned().collect()
    }

    fn has_code(&self, product: &Product<'_>) -> bool {
        product.codes.iter().any(|code| self.codes.contains(*code) || self.systemic_codes.contains(*code))
    }

    fn has_word(&self, words: &[String]) -> bool {
        words.iter().any(|word| self.words.contains(word))
    }

    fn has_brand(&self, words: &[String]) -> bool {
        words.iter().any(|word| self.brands.contains(word))
    }

    fn named_in(&self, words: &[String]) -> bool {
        self.has_word(words) || self.has_brand(words)
    }
}

/// A fact without a file is a fault. Where a problem's concepts were read, their set says.
fn check_sources(document: &mut Document, known: &BTreeSet<&str>, ingredients: &[Ingredient]) {
    if ingredients.len() > INGREDIENTS_MAX {
        document.mistake("ingredient", 0, "", format!("more than {INGREDIENTS_MAX} ingredients"));
    }
    for (index, ingredient) in ingredients.iter().enumerate() {
        let codes = ingredient.codes.iter().chain(&ingredient.systemic_codes);
        for code in codes.filter(|code| !is_concept(code)) {
            document.mistake("ingredient", index, "codes", format!("`{code}` fails the check digit of SNOMED CT"));
        }
        let unknown = ingredient.source.iter().find(|source| !known.contains(source.as_str()));
        if let Some(unknown) = unknown {
            document.mistake("ingredient", index, "source", format!("`{unknown}` is not a source of this file"));
        }
        if ingredient.source.is_empty() || ingredient.name.trim().is_empty() || ingredient.words.is_empty() {
            document.mistake("ingredient", index, "source", "an ingredient has a name, words and a source");
        }
    }
}

fn normal(words: &[String]) -> Vec<String> {
    words.iter().map(|word| words_of(word).join(" ")).collect()
}

/// In lower case; hyphens and apostrophes inside a word are dropped, everything else that is no letter or digit parts.
pub fn words_of(text: &str) -> Vec<String> {
    let joined: String = text.chars().filter(|c| !matches!(c, '-' | '\'' | '’' | '‘' | '`')).collect();
    joined.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}
