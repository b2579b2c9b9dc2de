//! What a site says about itself: teams, agreements, and what is known about medicines.
//!
//! # Why
//! An agreement that ends today does not wait for a restart: the folder is read again every few seconds. A set with a mistake
//! in it is not taken, whole: half of it could let more through than anybody signed. What was last good stays, and the part
//! `agreements` says so.

use crate::{
    GatewayError,
    access::{
        Agreement,
        agreement::{self, FileMistake},
        consent::Codes,
    },
};
use boot::{Stop, health::Part, organisations::Organisations};
use coding::lab::Lab;
use event::teams::Teams;
use identity::parameters::Parameters;
use medicine::Ingredients;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

/// Agreement files of a site.
pub const AGREEMENTS_MAX: usize = 1_000;

#[derive(Clone, Debug, Default)]
pub struct Site {
    pub teams: Teams,
    /// The organisation whose database each source is, by its ODS code.
    pub organisations: Organisations,
    /// What alerts, and how the record is judged.
    pub limits: alert::Limits,
    pub agreements: Agreements,
    /// By which codes sources record what patients said of sharing.
    pub consent: Codes,
    pub ingredients: Ingredients,
    /// What tests are shown by.
    pub lab: Arc<Lab>,
    /// What the fields of two patients weigh; without them nobody is linked by weight.
    pub weights: Option<Arc<Parameters>>,
}

/// What is known about medicines: the site's own file, else the one that is shipped.
pub fn medicines(path: Option<&Path>) -> Result<Ingredients, GatewayError> {
    let Some(path) = path else { return Ingredients::shipped().map_err(GatewayError::Site) };
    let named = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| GatewayError::File { path: named.clone(), source })?;
    Ingredients::parse(&named, &text).map_err(GatewayError::Site)
}

/// The codes of consent: the site's own file, else the one that is shipped.
pub fn consent(path: Option<&Path>) -> Result<Codes, GatewayError> {
    const SHIPPED: &str = include_str!("../../../site/consent.toml");
    let Some(path) = path else { return Codes::parse("site/consent.toml", SHIPPED).map_err(GatewayError::Site) };
    let named = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| GatewayError::File { path: named.clone(), source })?;
    Codes::parse(&named, &text).map_err(GatewayError::Site)
}

/// The folder of agreements is read again so often…
const REREAD: Duration = Duration::from_secs(2);
const _: () = assert!(REREAD.as_secs() <= 4, "what was revoked reaches an open stream within five seconds");

/// The agreements as they were last read without a mistake. Clones share them. The default lets nothing through.
#[derive(Clone, Debug, Default)]
pub struct Agreements {
    last_good: Arc<RwLock<Arc<Vec<Agreement>>>>,
    directory: Option<PathBuf>,
}

impl Agreements {
    pub fn read(directory: &Path) -> Result<Self, GatewayError> {
        let last_good = Arc::new(RwLock::new(Arc::new(agreements(directory)?)));
        Ok(Self { last_good, directory: Some(directory.to_owned()) })
    }

    /// To decide with, now.
    pub fn now(&self) -> Arc<Vec<Agreement>> {
        Arc::clone(&self.last_good.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the folder again and again, until the stop signal.
    pub async fn follow(self, part: Part, stop: Stop) {
        let Some(directory) = self.directory.clone() else { return part.ready() };
        loop {
            let folder = directory.clone();
            match tokio::task::spawn_blocking(move || agreements(&folder)).await {
                Ok(read) => self.take(read, &part),
                Err(_) => part.ready_but("the folder could not be read; what was last good holds"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(REREAD) => {}
            }
        }
    }

    fn take(&self, read: Result<Vec<Agreement>, GatewayError>, part: &Part) {
        match read {
            Ok(read) => {
                if *self.now() != read {
                    tracing::info!(agreements = read.len(), "the agreements have changed");
                    *self.last_good.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
                }
                part.ready();
            }
            Err(error) => part.ready_but(format!("what was last good holds: {error}")),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use boot::health::Health;

    #[test]
    fn a_set_with_a_mistake_is_not_taken_and_the_part_says_so() {
        let health = Health::new();
        let (part, all) = (health.part("agreements"), Agreements::default());
        let why = || health.parts().remove("agreements").flatten();
        let one = Agreement { id: "a".into(), ..Agreement::default() };
        all.take(Ok(vec![one.clone()]), &part);
        assert_eq!((all.now().len(), why()), (1, None));
        all.take(Err(GatewayError::Site(vec!["a.toml: line 3: agreement.until: lies before `from`".into()])), &part);
        assert_eq!(all.now().first().map(|it| it.id.clone()), Some("a".to_owned()), "the last good one holds");
        let told = why().expect("told");
        assert!(told.starts_with("what was last good holds") && told.contains("a.toml: line 3"), "{told}");
        assert!(health.ready(), "it works on");
        all.take(Ok(Vec::new()), &part);
        assert_eq!((all.now().len(), why()), (0, None), "taken away is taken away");
    }
}
