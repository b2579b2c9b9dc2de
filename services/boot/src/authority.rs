//! Files of certificate authorities (PEM). Every certificate in one counts: a file of which half is understood would trust
//! less than its owner thinks, and nobody would know until the other half is needed.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::path::{Path, PathBuf};

/// No file of authorities is larger.
pub const AUTHORITY_BYTES_MAX: u64 = 4 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("cannot read the certificate authority file {}", .file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    #[error("the certificate authority file {} is larger than {AUTHORITY_BYTES_MAX} bytes", .file.display())]
    TooLarge { file: PathBuf },
    #[error("{}: certificate {nth} cannot be read: {why}; mend it, or take it out of the file", .file.display())]
    Certificate { file: PathBuf, nth: usize, why: String },
    #[error("{} holds no certificate: expected PEM, from -----BEGIN CERTIFICATE----- on", .file.display())]
    Empty { file: PathBuf },
}

/// All certificates of the file, or which of them is not one.
pub fn read(file: &Path) -> Result<RootCertStore, AuthorityError> {
    let unreadable = |source| AuthorityError::Unreadable { file: file.to_owned(), source };
    if std::fs::metadata(file).map_err(unreadable)?.len() > AUTHORITY_BYTES_MAX {
        return Err(AuthorityError::TooLarge { file: file.to_owned() });
    }
    parse(file, &std::fs::read(file).map_err(unreadable)?)
}

fn parse(file: &Path, pem: &[u8]) -> Result<RootCertStore, AuthorityError> {
    let mut roots = RootCertStore::empty();
    for (certificate, nth) in CertificateDer::pem_slice_iter(pem).zip(1..) {
        let wrong = |why: String| AuthorityError::Certificate { file: file.to_owned(), nth, why };
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(AuthorityError::Empty { file: file.to_owned() });
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A self-signed certificate, P-256.
    const GOOD: &str = include_str!("../testdata/authority.pem");

    fn told(pem: &str) -> String {
        match parse(Path::new("ca.pem"), pem.as_bytes()) {
            Ok(roots) => format!("{} certificate(s)", roots.len()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_file_is_understood_whole_or_not_at_all() {
        assert_eq!(told(&format!("a comment\n{GOOD}\n{GOOD}")), "2 certificate(s)");
        let cut = GOOD.replacen('M', "*", 1);
        assert!(told(&format!("{GOOD}{cut}")).starts_with("ca.pem: certificate 2 cannot be read: "), "{}", told(&cut));
        let other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(told(&format!("{other}{GOOD}")).starts_with("ca.pem: certificate 1 cannot be read: "));
        let unended = GOOD.replace("-----END CERTIFICATE-----", "");
        assert!(told(&format!("{GOOD}{unended}")).starts_with("ca.pem: certificate 2 cannot be read: "));
        assert!(told("").starts_with("ca.pem holds no certificate"));
        let gone = read(Path::new("no/such/ca.pem")).expect_err("no file").to_string();
        assert_eq!(gone, "cannot read the certificate authority file no/such/ca.pem");
    }
}
