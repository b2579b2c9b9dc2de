//! What a site says about itself: teams, agreements, and what is known about medicines.

use crate::{
    GatewayError,
    access::{
        Agreement,
        agreement::{self, FileMistake},
    },
    record::ingredients::Ingredients,
};
use boot::organisations::Organisations;
use coding::lab::Lab;
use event::teams::Teams;
use std::{path::Path, sync::Arc};

/// Agreement files of a site.
pub const AGREEMENTS_MAX: usize = 1_000;

#[derive(Clone, Debug, Default)]
pub struct Site {
    pub teams: Teams,
    /// The organisation whose database each source is, by its ODS code.
    pub organisations: Organisations,
    /// What alerts, and how the record is judged.
    pub limits: alert::Limits,
    pub agreements: Vec<Agreement>,
    pub ingredients: Ingredients,
    /// What tests are shown by.
    pub lab: Arc<Lab>,
}

/// What is known about medicines: the site's own file, else the one that is shipped.
pub fn medicines(path: Option<&Path>) -> Result<Ingredients, GatewayError> {
    const SHIPPED: &str = include_str!("../../../site/medicines.toml");
    let Some(path) = path else {
        return Ingredients::parse("site/medicines.toml", SHIPPED).map_err(GatewayError::Site);
    };
    let named = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| GatewayError::File { path: named.clone(), source })?;
    Ingredients::parse(&named, &text).map_err(GatewayError::Site)
}

/// Every `*.toml` of a directory. All mistakes of all files at once.
pub fn agreements(directory: &Path) -> Result<Vec<Agreement>, GatewayError> {
    let unreadable = |path: &Path, source| GatewayError::File { path: path.display().to_string(), source };
    let mut files: Vec<(String, String)> = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|source| unreadable(directory, source))? {
        let path = entry.map_err(|source| unreadable(directory, source))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).map_err(|source| unreadable(&path, source))?;
            files.push((path.display().to_string(), text));
        }
    }
    files.sort();
    if files.len() > AGREEMENTS_MAX {
        return Err(GatewayError::Site(vec![format!(
            "{}: more than {AGREEMENTS_MAX} agreements",
            directory.display()
        )]));
    }
    let named = files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    agreement::parse(named)
        .map_err(|mistakes| GatewayError::Site(mistakes.iter().map(FileMistake::to_string).collect()))
}
