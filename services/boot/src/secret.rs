//! Secrets come from a file or the environment, never from arguments or the settings file.

use secrecy::SecretString;
use std::path::Path;

pub use secrecy::{ExposeSecret, SecretString as Secret};

/// No secret is longer; a larger file is a mistake.
pub const SECRET_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read the secret file `{path}`")]
    Unreadable { path: String, source: std::io::Error },
    #[error("the secret file `{path}` is empty or larger than {SECRET_BYTES_MAX} bytes")]
    BadSize { path: String },
}

/// The secret in `file`, without its last line end, or else in the environment variable; `None` without either.
pub fn read(file: Option<&Path>, variable: &str) -> Result<Option<Secret>, SecretError> {
    let Some(file) = file else {
        return Ok(std::env::var(variable).ok().filter(|value| !value.is_empty()).map(SecretString::from));
    };
    let path = file.display().to_string();
    let unreadable = |source| SecretError::Unreadable { path: path.clone(), source };
    let size = std::fs::metadata(file).map_err(unreadable)?.len();
    if size == 0 || size > SECRET_BYTES_MAX {
        return Err(SecretError::BadSize { path });
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    Ok(Some(SecretString::from(text.trim_end_matches(['\r', '\n']).to_owned())))
}
