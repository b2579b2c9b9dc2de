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
