//! The components really start, die, come back with their data, and leave nothing behind.

use stack::{Kafka, Lifetime, Postgres, Region, Registry, witness::Witness};
use std::path::PathBuf;

/// A folder of its own for one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("causeway-stack-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn gone(pid: u32) -> bool {
    !PathBuf::from(format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn postgres_keeps_commits_over_kill_9_and_pause() {
    let folder = Folder::new("postgres");
    let mut cluster = Postgres::start("gp", &folder.0, Lifetime::WithParent).await.unwrap();
    cluster.create_database("riverside", stack::SUPERUSER).await.unwrap();
    let mut witness = Witness::start(&cluster, "riverside", "witness", &folder.0.join("witness.txt")).await.unwrap();
    cluster.execute("riverside", "create table t (a int primary key); insert into t values (1)").await.unwrap();

    let pid = cluster.pid().unwrap();
    cluster.kill_9().unwrap();
    assert!(gone(pid));
    cluster.restart().await.unwrap();
    cluster.execute("riverside", "insert into t values (2)").await.unwrap();

    cluster.pause().unwrap();
    let connecting = tokio::time::timeout(std::time::Duration::from_millis(300), cluster.connect("riverside")).await;
    assert!(connecting.is_err(), "a paused server does not answer");
    cluster.resume().unwrap();
    cluster.execute("riverside", "insert into t values (3)").await.unwrap();

    witness.wait_caught_up(&cluster).await.unwrap();
    let changes: Vec<String> = witness.transactions().unwrap().into_iter().flat_map(|t| t.changes).collect();
    let want: Vec<String> = (1..=3).map(|a| format!("table public.t: INSERT: a[integer]:{a}")).collect();
    assert_eq!(changes, want);
    assert!(witness.exited().unwrap().is_none());
    witness.finish(&cluster).await.unwrap();

    let role = cluster.create_role("reader", "login").await.unwrap();
    assert_eq!(std::fs::read_to_string(role).unwrap(), cluster.password("reader").unwrap());
    cluster.connect_as("reader", "riverside").await.unwrap();
    let pid = cluster.pid().unwrap();
    cluster.stop().await.unwrap();
    assert!(gone(pid));
}

#[tokio::test]
async fn kafka_comes_back_on_its_port() {
    let folder = Folder::new("kafka");
    let mut kafka = Kafka::start(&folder.0, Lifetime::WithParent).await.unwrap();
    for _ in 0..2 {
        kafka.kill_9().unwrap();
        assert!(!kafka.is_ready().await);
        kafka.restart().await.unwrap();
        assert!(kafka.is_ready().await);
    }
    kafka.stop().await.unwrap();
}

#[tokio::test]
async fn the_registry_keeps_a_schema_over_kill_9_at_once() {
    let folder = Folder::new("registry");
    let mut registry = Registry::start(&folder.0, Lifetime::WithParent).await.unwrap();
    let body = r#"{"schema":"\"string\""}"#;
    let post = format!(
        "POST /apis/ccompat/v7/subjects/s-value/versions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = http(registry.address(), &post).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    registry.kill_9().unwrap();
    registry.restart().await.unwrap();
    let get = "GET /apis/ccompat/v7/subjects HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = http(registry.address(), get).await;
    assert!(answer.contains("s-value"), "{answer}");
    registry.stop().await.unwrap();
}

async fn http(address: &str, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_region_starts_whole_and_leaves_nothing() {
    let folder = Folder::new("region");
    let mut region = Region::start(&folder.0).await.unwrap();
    let addresses = region.addresses().unwrap();
    assert_eq!(addresses.len(), 5);
    let own = addresses.iter().find(|(name, _)| *name == "CAUSEWAY_URL").unwrap();
    assert!(own.1.starts_with("postgres://causeway:"));
    region.own.connect_as("causeway", "causeway").await.unwrap();
    let pids: Vec<u32> = region.parts().iter().map(|part| part.pid().unwrap()).collect();
    drop(region);
    assert!(pids.into_iter().all(gone));
}
