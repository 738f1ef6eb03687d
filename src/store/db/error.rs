//! What a database answers when it does not do it, and what that means to us.

/// The driver's own words.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// SQLite's.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL's, or of the way to it.
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
}

impl DbError {
    /// There is such a row already.
    pub fn is_unique_violation(&self) -> bool {
        use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE};
        match self {
            Self::Sqlite(error) => error.sqlite_error().is_some_and(|error| {
                [SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE]
                    .contains(&error.extended_code)
            }),
            Self::Postgres(_) => self.state().is_some_and(|code| code == "23505"),
        }
    }

    /// The database answered, and refused a row for what it holds.
    pub fn is_of_a_row(&self) -> bool {
        use rusqlite::ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
        match self {
            Self::Sqlite(error) => error
                .sqlite_error_code()
                .is_some_and(|code| [ConstraintViolation, TooBig, TypeMismatch].contains(&code)),
            // Data exceptions, constraints and limits.
            Self::Postgres(_) => self
                .state()
                .is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class))),
        }
    }

    /// The connection is gone, or leads to a server that is no primary any more.
    pub fn is_lost(&self) -> bool {
        self.state().is_none_or(|code| code.starts_with("57P") || code == "25006")
    }

    /// PostgreSQL chose this transaction to give way: serialization failure, deadlock.
    pub fn is_in_the_way(&self) -> bool {
        self.state().is_some_and(|code| code == "40001" || code == "40P01")
    }

    /// SQLSTATE, where a server answered.
    fn state(&self) -> Option<std::borrow::Cow<'_, str>> {
        match self {
            Self::Postgres(error) => error.as_database_error()?.code(),
            Self::Sqlite(_) => None,
        }
    }
}
