//! A PostgreSQL server of a test's own, in a directory of its own, on a free port.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio_postgres::{Client, Config, NoTls};

const START_MAX: Duration = Duration::from_secs(30);

pub struct Server {
    directory: PathBuf,
    port: u16,
    account: Option<(u32, u32)>,
    child: Child,
}

impl Server {
    pub async fn start(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("region-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let account = account();
        if let Some((uid, gid)) = account {
            chown(&directory, Some(uid), Some(gid)).unwrap();
        }
        let mut initdb = command("initdb", account);
        initdb.args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync", "-D"]).arg(directory.join("data"));
        assert!(initdb.stdout(Stdio::null()).status().unwrap().success(), "initdb failed");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = spawn(&directory, port, account);
        let server = Self { directory, port, account, child };
        let admin = server.client("postgres").await;
        admin.batch_execute("create database gp").await.unwrap();
        admin.batch_execute("create database hospital").await.unwrap();
        server
    }

    pub fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).user("postgres").dbname(database);
        config.connect_timeout(Duration::from_secs(5));
        config
    }

    /// Waits while the server starts.
    pub async fn client(&self, database: &str) -> Client {
        let attempts = START_MAX.as_millis() / 100;
        for _ in 0..attempts {
            if let Ok((client, connection)) = self.config(database).connect(NoTls).await {
                tokio::spawn(connection);
                return client;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("PostgreSQL did not start within {START_MAX:?}");
    }

    /// Kills the server as a crash would, and starts it again.
    #[expect(dead_code, reason = "each test file compiles this module for itself")]
    pub fn crash(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // Its children let go of shared memory when they see it gone.
        std::thread::sleep(Duration::from_millis(500));
        self.child = spawn(&self.directory, self.port, self.account);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn spawn(directory: &Path, port: u16, account: Option<(u32, u32)>) -> Child {
    let log = fs::File::create(directory.join("log")).unwrap();
    let mut postgres = command("postgres", account);
    postgres.arg("-D").arg(directory.join("data")).args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k"]);
    postgres.arg(directory).args(["-c", "wal_level=logical", "-c", "synchronous_commit=off"]);
    postgres.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// PostgreSQL refuses to run as root: then it runs as the account Debian made for it.
fn account() -> Option<(u32, u32)> {
    let root = fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m)).unwrap() == 0;
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let entry = passwd.lines().find(|line| line.starts_with("postgres:")).filter(|_| root)?;
    let mut fields = entry.split(':').skip(2).map(|field| field.parse().unwrap());
    Some((fields.next()?, fields.next()?))
}

fn command(program: &str, account: Option<(u32, u32)>) -> Command {
    let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql").unwrap().map(|e| e.unwrap().path()).collect();
    versions.sort();
    let mut command = Command::new(versions.last().unwrap().join("bin").join(program));
    if let Some((uid, gid)) = account {
        command.uid(uid).gid(gid);
    }
    command.current_dir(std::env::temp_dir());
    command
}
