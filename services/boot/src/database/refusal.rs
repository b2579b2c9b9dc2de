//! Why a database server is not trusted with a session, and what mends it.

use rustls::{CertificateError, Error as TlsError};
use std::{error::Error, io};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "it asks for the password itself, which is never sent. Let its administrator write `scram-sha-256` instead of \
         `password` (or ldap, pam, radius) into the line of pg_hba.conf that this role meets"
    )]
    AsksForPassword,
    #[error(
        "it asks for an MD5 of the password, which is as good as the password and is never sent. Let its administrator set \
         password_encryption = 'scram-sha-256', give the role its password anew (`\\password`), and write `scram-sha-256` \
         into the line of pg_hba.conf that this role meets"
    )]
    AsksForMd5,
    #[error(
        "it does not offer TLS. Let its administrator set `ssl = on` with a certificate, and write `hostssl` into the line \
         of pg_hba.conf that this role meets"
    )]
    NoTls,
    #[error(
        "no authority in `ca_file` has signed its certificate. Name the file (PEM) of the authority that has, or let the \
         server's administrator install a certificate of this one"
    )]
    UnknownAuthority,
    #[error(
        "its certificate is made out to another host. Write the host into `url` as the certificate names it, or let the \
         server's administrator install one that names this host among its subject alternative names"
    )]
    OtherHost,
    #[error("its certificate is not valid at this time. Renew it, or mend this machine's clock")]
    OutOfTime,
    #[error("its certificate cannot be trusted ({0}). Let the server's administrator install another one")]
    BadCertificate(String),
    #[error(
        "it does not prove that the TLS connection ends at itself (SCRAM with channel binding). Let its administrator write \
         `hostssl … scram-sha-256` into the line of pg_hba.conf that this role meets, store the password under \
         password_encryption = 'scram-sha-256', and use a certificate signed with SHA-256 or better; what ends TLS in \
         front of the server cannot be in between"
    )]
    NoChannelBinding,
}

impl Refusal {
    /// What the driver's error means, if it is about trust.
    pub fn of(error: &tokio_postgres::Error) -> Option<Self> {
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(told) = cause {
            if let Some(found) = told.downcast_ref::<io::Error>().and_then(io::Error::get_ref).and_then(Self::within) {
                return Some(found);
            }
            cause = told.source();
        }
        // The driver has no kinds for these.
        let told = crate::restart::in_one_line(error);
        if told.contains("server does not support TLS") {
            return Some(Self::NoTls);
        }
        told.contains("did not use channel binding").then_some(Self::NoChannelBinding)
    }

    fn within(error: &(dyn Error + Send + Sync + 'static)) -> Option<Self> {
        if let Some(own) = error.downcast_ref::<Self>() {
            return Some(own.clone());
        }
        match error.downcast_ref::<TlsError>()? {
            TlsError::InvalidCertificate(why) => Some(Self::certificate(why)),
            _ => None,
        }
    }

    fn certificate(why: &CertificateError) -> Self {
        match why {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownAuthority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::OtherHost,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::OutOfTime,
            other => Self::BadCertificate(other.to_string()),
        }
    }
}
