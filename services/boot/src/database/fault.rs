//! What a database says is wrong, without the values that PostgreSQL quotes: they are patients'.

use crate::restart::in_one_line;
use tokio_postgres::error::SqlState;

/// Classes of SQLSTATE (PostgreSQL, appendix "Error Codes") whose messages name objects, privileges and states, never a
/// row's values: connections, features, transactions, authorization, catalogues, conflicts, names and types, resources,
/// the server's state. Of any other (data exceptions, violated constraints, what functions raise) the code has to do.
const CLASSES_TOLD: &[&str] = &["08", "0A", "25", "26", "28", "34", "3D", "3F", "40", "42", "53", "55", "57", "58"];

/// Classes that refuse the rows themselves.
const REFUSED: &[&str] = &["22", "23", "54"];

/// A database's refusal, or its absence. It never holds a detail, a hint or a context.
#[derive(Debug, thiserror::Error)]
#[error("{told}")]
pub struct DatabaseFault {
    code: Option<SqlState>,
    told: String,
}

impl From<tokio_postgres::Error> for DatabaseFault {
    fn from(error: tokio_postgres::Error) -> Self {
        let told = error.as_db_error().map_or_else(
            || in_one_line(&error),
            |fault| tell(fault.code().code(), fault.message(), fault.constraint().or(fault.table())),
        );
        Self { code: error.code().cloned(), told }
    }
}

fn tell(code: &str, message: &str, on: Option<&str>) -> String {
    let on = on.map_or_else(String::new, |name| format!(" on {name}"));
    let known = code.get(..2).is_some_and(|class| CLASSES_TOLD.contains(&class));
    if known { format!("{message} (SQLSTATE {code}{on})") } else { format!("SQLSTATE {code}{on}") }
}

impl DatabaseFault {
    pub const fn code(&self) -> Option<&SqlState> {
        self.code.as_ref()
    }

    /// Whether the code is of one of these classes.
    pub fn is_of(&self, classes: &[&str]) -> bool {
        self.code.as_ref().is_some_and(|code| classes.iter().any(|class| code.code().starts_with(class)))
    }

    /// Another transaction was in the way: the same again may go through at once.
    pub fn in_the_way(&self) -> bool {
        [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE]
            .iter()
            .any(|code| self.code.as_ref() == Some(code))
    }

    /// The rows themselves are refused: data exception, integrity violation, limit exceeded.
    pub fn about_the_data(&self) -> bool {
        self.is_of(REFUSED)
    }

    /// The same of an error that has yet to become a fault.
    pub fn is_about_the_data(error: &tokio_postgres::Error) -> bool {
        error.code().is_some_and(|code| REFUSED.iter().any(|class| code.code().starts_with(class)))
    }
}

#[cfg(test)]
mod tests {
    use super::tell;

    #[test]
    fn values_are_not_told() {
        let value = "invalid input syntax for type numeric: \"Haemolysed\"";
        assert_eq!(tell("22P02", value, None), "SQLSTATE 22P02");
        assert_eq!(tell("23505", "duplicate key", Some("patient_nhs_number")), "SQLSTATE 23505 on patient_nhs_number");
        assert_eq!(tell("P0001", "patient 7 is locked", None), "SQLSTATE P0001");
        let denied = "permission denied for table patient (SQLSTATE 42501)";
        assert_eq!(tell("42501", "permission denied for table patient", None), denied);
    }
}
