//! A PostgreSQL of its own with the linker's tables.

use boot::database::{DatabaseSettings, Tls, pool};
use deadpool_postgres::Pool;
use linker::store;
use stack::{Lifetime, Postgres};

const DATABASE: &str = "causeway";

pub struct Database {
    _server: Postgres,
    pub pool: Pool,
    folder: std::path::PathBuf,
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub async fn database(test: &str) -> Database {
    let folder = std::env::temp_dir().join(format!("causeway-linker-{test}-{}", std::process::id()));
    let server = Postgres::start("linker", &folder, Lifetime::WithParent).await.expect("PostgreSQL");
    server.create_role("linker", "login").await.expect("a role");
    server.create_database(DATABASE, "linker").await.expect("a database");
    let settings = DatabaseSettings {
        url: server.url("linker", DATABASE),
        password_file: Some(server.password_file("linker")),
        tls: Tls::default(),
        ca_file: None,
    };
    let pool = pool(&settings, 2).expect("a pool");
    store::migrate(&mut pool.get().await.expect("a connection")).await.expect("migrated");
    Database { _server: server, pool, folder }
}

impl Database {
    pub async fn wipe(&self) {
        let tables = "identity.block, identity.pair, identity.verdict, identity.queue, identity.unsettled, identity.history, \
                      identity.outbox, identity.number_standing, identity.link, identity.patient";
        let client = self.pool.get().await.expect("a connection");
        client.batch_execute(&format!("truncate {tables} restart identity")).await.expect("wiped");
    }
}
