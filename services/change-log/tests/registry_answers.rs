//! What the registry's answers to "which schema is this?" mean. The answers are written here, as its API and those who
//! stand in front of it give them: a real registry cannot be made to give most of them.

use change_log::{Registry, RegistryError, RegistrySettings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Answers one request after the other with these, and the last for ever.
async fn answering(answers: &'static [(&'static str, &'static str)]) -> Registry {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    tokio::spawn(async move {
        let mut next = 0;
        while let Ok((mut socket, _)) = listener.accept().await {
            let (status, body) = answers[next.min(answers.len() - 1)];
            next += 1;
            let mut request = [0; 4_096];
            let _ = socket.read(&mut request).await;
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = socket.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    Registry::new(&RegistrySettings { url }).expect("a client")
}

#[tokio::test]
async fn only_a_definite_unknown_is_unknown() {
    let check = async |answers: &'static [(&str, &str)]| {
        let error = answering(answers).await.schema(7).await.expect_err("no schema");
        (matches!(error, RegistryError::UnknownId { id: 7 }), error.worth_retrying())
    };
    let waits = (false, true);
    assert_eq!(check(&[("401 Unauthorized", "")]).await, waits);
    assert_eq!(check(&[("403 Forbidden", r#"{"error_code":40301,"message":"no"}"#)]).await, waits);
    assert_eq!(check(&[("429 Too Many Requests", "")]).await, waits);
    assert_eq!(check(&[("404 Not Found", "<html>somebody else's page</html>")]).await, waits, "a wrong path");
    assert_eq!(check(&[("404 Not Found", r#"{"error_code":40401,"message":"Subject not found."}"#)]).await, waits);
    assert_eq!(
        check(&[("404 Not Found", r#"{"error_code":40403,"message":"Schema not found"}"#)]).await,
        (true, false)
    );
}

#[tokio::test]
async fn an_id_that_no_registry_can_have_is_not_asked_for() {
    let registry = answering(&[("404 Not Found", "a wrong path")]).await;
    assert!(matches!(registry.schema(u32::MAX).await, Err(RegistryError::UnknownId { id: u32::MAX })));
}

#[tokio::test]
async fn a_registry_that_fails_or_hangs_waits_and_says_so() {
    let told = async |answers: &'static [(&str, &str)]| {
        let error = answering(answers).await.schema(7).await.expect_err("no schema");
        assert!(error.worth_retrying(), "{error}");
        error.to_string()
    };
    assert!(told(&[("503 Service Unavailable", "")]).await.ends_with("failed 6 times in a row with status 503"));
    assert!(told(&[("200 OK", "<html>please sign in</html>")]).await.contains("did not answer"));
    assert_eq!(
        told(&[("401 Unauthorized", "")]).await,
        "the schema registry refused to show schema id 7 with status 401"
    );
}

#[tokio::test]
async fn no_refusal_is_remembered() {
    let registry = answering(&[
        ("403 Forbidden", ""),
        ("404 Not Found", r#"{"error_code":40403,"message":"Schema not found"}"#),
        ("200 OK", r#"{"schema":"\"long\""}"#),
    ])
    .await;
    assert!(registry.schema(7).await.is_err());
    assert!(registry.schema(7).await.is_err());
    assert_eq!(registry.schema(7).await.expect("the third answer is a schema").as_ref(), "\"long\"");
}

/// A registry with one subject, which stands still at the post of a schema while it is told to.
struct Held {
    compatibility: std::sync::Mutex<String>,
    hangs: std::sync::atomic::AtomicBool,
    asked: std::sync::Mutex<Vec<String>>,
}

const BEFORE: &str = r#"{"type":"record","name":"t","fields":[{"name":"a","type":"string"}]}"#;
const AFTER: &str = r#"{"type":"record","name":"t","fields":[{"name":"a","type":"long"}]}"#;

async fn held() -> (std::sync::Arc<Held>, String) {
    use std::sync::atomic::Ordering::SeqCst;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let held = std::sync::Arc::new(Held {
        compatibility: std::sync::Mutex::new("BACKWARD".into()),
        hangs: true.into(),
        asked: std::sync::Mutex::default(),
    });
    let state = held.clone();
    tokio::spawn(async move {
        let mut hanging = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 4_096];
            let length = socket.read(&mut request).await.unwrap_or_default();
            let mut text = String::from_utf8_lossy(&request[..length]).into_owned();
            // The body may come after the head.
            if !text.starts_with("GET") && text.ends_with("\r\n\r\n") {
                let length = socket.read(&mut request).await.unwrap_or_default();
                text.push_str(&String::from_utf8_lossy(&request[..length]));
            }
            let line = text.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
            state.asked.lock().expect("nobody panics").push(line.clone());
            let latest = serde_json::json!({"id": 1, "schema": BEFORE}).to_string();
            let (status, body) = match line.as_str() {
                "PUT /config/s" => {
                    let level = if text.contains("NONE") { "NONE" } else { "BACKWARD" };
                    *state.compatibility.lock().expect("nobody panics") = level.into();
                    ("200 OK", "{}".to_owned())
                }
                "POST /subjects/s" => ("404 Not Found", r#"{"error_code":40403,"message":"not found"}"#.to_owned()),
                "GET /subjects/s/versions/latest" => ("200 OK", latest),
                "POST /subjects/s/versions" if state.hangs.load(SeqCst) => {
                    hanging.push(socket);
                    continue;
                }
                "POST /subjects/s/versions" => ("200 OK", r#"{"id":2}"#.to_owned()),
                _ => ("200 OK", r#"{"is_compatible":false}"#.to_owned()),
            };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = socket.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    (held, url)
}

#[tokio::test]
async fn who_was_killed_while_a_schema_was_let_in_leaves_the_subject_open_no_longer_than_to_the_next_start() {
    let (held, url) = held().await;
    let level = || held.compatibility.lock().expect("nobody panics").clone();
    let registry = Registry::new(&RegistrySettings { url: url.clone() }).expect("a client");
    registry.accept("s", 1);
    let killed = tokio::time::timeout(std::time::Duration::from_secs(2), registry.register_next("s", AFTER)).await;
    assert!(killed.is_err() && level() == "NONE", "it was to be killed between NONE and BACKWARD");
    drop(registry);
    held.asked.lock().expect("nobody panics").clear();
    // The next start has accepted nothing: it lets nothing in, and closes the subject before all else.
    let registry = Registry::new(&RegistrySettings { url }).expect("a client");
    let refused = registry.register_next("s", AFTER).await.expect_err("nobody accepted it here");
    assert!(matches!(refused, RegistryError::Incompatible { .. }), "{refused}");
    assert_eq!(held.asked.lock().expect("nobody panics").first().map(String::as_str), Some("PUT /config/s"));
    assert_eq!(level(), "BACKWARD");
    // So does one process whose way to the registry broke in between.
    registry.accept("s", 1);
    let killed = tokio::time::timeout(std::time::Duration::from_secs(2), registry.register_next("s", AFTER)).await;
    assert!(killed.is_err() && level() == "NONE");
    registry.accept_only(std::iter::empty());
    assert!(registry.register_next("s", AFTER).await.is_err());
    assert_eq!(level(), "BACKWARD", "what it knew of the subject is not relied on");
    held.hangs.store(false, std::sync::atomic::Ordering::SeqCst);
    registry.accept("s", 1);
    assert_eq!(registry.register_next("s", AFTER).await.ok(), Some(2));
    assert_eq!(level(), "BACKWARD");
}
