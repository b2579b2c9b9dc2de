//! A PostgreSQL of a test's own, with a GP's and a hospital's database.

use stack::{Lifetime, Postgres, SUPERUSER};
use std::{
    ops::{Deref, DerefMut},
    path::PathBuf,
};
use tokio_postgres::{Client, Config};

pub struct Server {
    postgres: Postgres,
    folder: PathBuf,
}

impl Server {
    pub async fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("region-{name}-{}", std::process::id()));
        let postgres = Postgres::start(name, &folder, Lifetime::WithParent).await.unwrap();
        for database in ["gp", "hospital"] {
            postgres.create_database(database, SUPERUSER).await.unwrap();
        }
        Self { postgres, folder }
    }

    pub async fn client(&self, database: &str) -> Client {
        self.postgres.connect(database).await.unwrap()
    }

    pub fn config(&self, database: &str) -> Config {
        self.postgres.url_with_password(SUPERUSER, database).unwrap().parse().unwrap()
    }
}

impl Deref for Server {
    type Target = Postgres;
    fn deref(&self) -> &Postgres {
        &self.postgres
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Postgres {
        &mut self.postgres
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that is gone already is what is wanted.
        let _ = self.postgres.kill_9();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
