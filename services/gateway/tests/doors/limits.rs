//! What comes in that no handler can use: characters, halves of requests; and what a lost database looks like.

use super::{DAVID, Doors, PATIENCE, POTASSIUM};
use anyhow::{Context, ensure};
use reqwest::{Method, StatusCode};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

const FORM: &str = "application/x-www-form-urlencoded";
const GUESS: &str = r#"{"user": "nobody", "password": "x"}"#;

/// Every way in that takes text: method, path, kind of body, body.
fn inputs() -> Vec<(Method, String, &'static str, &'static str)> {
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    vec![
        (post.clone(), "/session".into(), "application/json", r#"{"user": "a\u0000", "password": "x"}"#),
        (post.clone(), "/session".into(), "application/json", r#"{"user": "a", "password": "\u0000"}"#),
        (post.clone(), "/sign-in".into(), FORM, "user=a%00b&password=x"),
        (post.clone(), "/sign-in".into(), FORM, "user=a&password=%00"),
        (post.clone(), "/sign-out".into(), FORM, "csrf=%00"),
        (get.clone(), "/inbox?state=%00".into(), FORM, ""),
        (get.clone(), format!("/inbox/{POTASSIUM}?state=%00"), FORM, ""),
        (get.clone(), "/inbox/%00".into(), FORM, ""),
        (post.clone(), format!("/alerts/{POTASSIUM}/seen"), FORM, "csrf=%00"),
        (post.clone(), format!("/matters/{POTASSIUM}/answer"), FORM, "csrf=%00"),
        (post.clone(), format!("/matters/{POTASSIUM}/answer"), FORM, "csrf=&shown=x&outcome=acted&note=%00"),
        (post.clone(), format!("/matters/{POTASSIUM}/feedback"), FORM, "csrf=&kind=other&note=%00"),
        (post.clone(), format!("/matters/{POTASSIUM}/reopen"), FORM, "csrf=&note=%00"),
        (
            put.clone(),
            format!("/matters/{POTASSIUM}/answer"),
            "application/json",
            r#"{"shown": "x", "outcome": "acted", "note": "\u0000"}"#,
        ),
        (put.clone(), "/alerts/%00/seen".into(), FORM, ""),
        (get.clone(), "/events?after=%00".into(), FORM, ""),
        (post.clone(), "/patients".into(), FORM, "csrf=&query=ell%00is"),
        (post.clone(), "/patients".into(), FORM, "csrf=&query=ell\0is"),
        (get.clone(), "/patients?search=%00".into(), FORM, ""),
        (get.clone(), "/patients/%00".into(), FORM, ""),
        (post.clone(), format!("/patients/{DAVID}/break-glass"), FORM, "csrf=&reason=unconscious%00"),
        (post.clone(), "/break-glass".into(), FORM, "csrf=&nhs_number=9434765919&reason=unconscious%00"),
        (post.clone(), "/break-glass".into(), FORM, "csrf=&nhs_number=943476%005919&reason=unconscious"),
        (get.clone(), "/identity/%00/1".into(), FORM, ""),
        (post.clone(), "/identity/1/2".into(), FORM, "csrf=&decision=one&reason=%00"),
        (get.clone(), "/fhir/Patient/%00".into(), FORM, ""),
        (get.clone(), "/fhir/Patient?identifier=%00".into(), FORM, ""),
        (get.clone(), "/fhir/Patient?_id=a%00".into(), FORM, ""),
        (post.clone(), "/fhir/Patient/_search".into(), FORM, "identifier=%00"),
        (get.clone(), "/fhir/Observation/a.%00".into(), FORM, ""),
        (get.clone(), format!("/fhir/Observation?patient={DAVID}&code=%00"), FORM, ""),
        (get, format!("/fhir/Observation?patient={DAVID}&code=http://loinc.org%7C2823-3%00"), FORM, ""),
        (post, "/fhir/Observation/_search".into(), FORM, "patient=%00"),
    ]
}

pub async fn a_nul_is_refused_everywhere(doors: &Doors<'_>) -> anyhow::Result<()> {
    let token = doors.token("ed.stmarys").await?;
    for (method, path, kind, body) in inputs() {
        let request = doors.client.request(method.clone(), format!("{}{path}", doors.region.url)).bearer_auth(&token);
        let answer = request.header("content-type", kind).body(body).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status == StatusCode::BAD_REQUEST && text.contains("NUL"), "{method} {path} {body:?}: {status} {text}");
        let said_as = if path.starts_with("/fhir") {
            "OperationOutcome"
        } else if path.starts_with("/session") || path.starts_with("/events") {
            "{\"error\":"
        } else {
            "<h1"
        };
        ensure!(text.contains(said_as), "{method} {path}: {text}");
    }
    // A patient's name may have a percent sign in it.
    ensure!(doors.ask(&token, Method::POST, "/patients", "csrf=&query=%2500ellis").await?.status() == StatusCode::OK);
    let long = format!("csrf=&query={}", "x".repeat(gateway::BODY_BYTES_MAX));
    let large = doors.ask(&token, Method::POST, "/patients", &long).await?;
    ensure!(large.status() == StatusCode::PAYLOAD_TOO_LARGE, "{}", large.status());
    Ok(())
}

const HALVES: usize = 300;
const TRIES_MAX: usize = 5;

/// Three hundred halves of requests; whoever sends whole ones is answered meanwhile.
pub async fn who_sends_half_a_request_is_let_go(doors: &Doors<'_>) -> anyhow::Result<()> {
    let address = doors.region.url.trim_start_matches("http://").to_owned();
    let mut halves = JoinSet::new();
    for _ in 0..HALVES {
        let mut stream = TcpStream::connect(&address).await?;
        stream.write_all(b"GET /sign-in HTTP/1.1\r\nhost: causeway\r\nx-half: ").await?;
        halves.spawn(async move {
            let mut answer = Vec::new();
            // Reset or closed: gone in either case.
            let gone = timeout(gateway::server::HEADERS_WITHIN + PATIENCE, stream.read_to_end(&mut answer)).await;
            gone.map(|_| ()).context("a half-sent request is kept open")
        });
    }
    let mut body = TcpStream::connect(&address).await?;
    let half =
        format!("POST /sign-in HTTP/1.1\r\nhost: causeway\r\ncontent-type: {FORM}\r\ncontent-length: 50\r\n\r\nuser=a");
    body.write_all(half.as_bytes()).await?;
    let token = doors.token("ed.stmarys").await?;
    ensure!(doors.get(&token, "/inbox").await?.0 == StatusCode::OK, "others are not served");
    let mut answer = [0; 64];
    let read = timeout(gateway::BODY_WITHIN + PATIENCE, body.read(&mut answer)).await;
    let read = read.context("a half-sent body is waited for")??;
    ensure!(answer[..read].starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer[..read]));
    while let Some(gone) = halves.join_next().await {
        gone??;
    }
    ensure!(doors.get(&token, "/inbox").await?.0 == StatusCode::OK);
    Ok(())
}

/// The connection is lost while a statement waits on it: at each door, the answer is 503, and when to ask again.
pub async fn a_lost_connection_is_a_reason_to_ask_again(doors: &Doors<'_>) -> anyhow::Result<()> {
    let token = doors.token("ed.stmarys").await?;
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let observation = format!("/fhir/Observation/{DAVID}.00000000000000000000000000");
    for (method, path, body) in [
        (&get, "/", ""),
        (&post, "/sign-in", "user=nobody&password=x"),
        (&post, "/sign-out", "csrf="),
        (&get, "/inbox", ""),
        (&get, &format!("/inbox/{POTASSIUM}"), ""),
        (&post, &format!("/alerts/{POTASSIUM}/seen"), "csrf="),
        (&put, &format!("/alerts/{POTASSIUM}/seen"), ""),
        (&put, &format!("/matters/{POTASSIUM}/seen"), ""),
        (&get, &format!("/matters/{POTASSIUM}"), ""),
        (&get, "/inbox/hand-over", ""),
        (&get, "/patients", ""),
        (&post, "/patients", "csrf=&query=ellis"),
        (&get, &format!("/patients/{DAVID}"), ""),
        (&post, &format!("/patients/{DAVID}/break-glass"), "csrf=&reason=unconscious"),
        (&post, "/break-glass", "csrf=&nhs_number=9434765919&reason=unconscious"),
        (&get, "/status", ""),
        (&get, "/events", ""),
        (&post, "/session", GUESS),
        (&Method::DELETE, "/session", ""),
        (&get, &format!("/fhir/Patient/{DAVID}"), ""),
        (&get, "/fhir/Patient?identifier=9434765919", ""),
        (&post, "/fhir/Patient/_search", "identifier=9434765919"),
        (&get, &format!("/fhir/Observation?patient={DAVID}"), ""),
        (&get, &observation, ""),
    ] {
        let kind = if body == GUESS { "application/json" } else { FORM };
        let request = doors.client.request(method.clone(), format!("{}{path}", doors.region.url)).bearer_auth(&token);
        let answer = cut_off(doors, request.header("content-type", kind).body(body.to_owned())).await;
        let answer = answer.with_context(|| format!("{method} {path}"))?;
        let retry = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
        ensure!(answer.status() == StatusCode::SERVICE_UNAVAILABLE, "{method} {path}: {}", answer.status());
        ensure!(retry.is_some(), "{method} {path} does not say when to ask again");
    }
    ensure!(doors.get(&token, "/inbox").await?.0 == StatusCode::OK, "and then all is well");
    Ok(())
}

/// Sends the request while nobody can read sessions or count sign-ins, and ends the connection that waits for it.
async fn cut_off(doors: &Doors<'_>, request: reqwest::RequestBuilder) -> anyhow::Result<reqwest::Response> {
    let mut client = doors.region.pool.get().await?;
    let other = doors.region.pool.get().await?;
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    for _ in 0..TRIES_MAX {
        let lock = client.transaction().await?;
        lock.batch_execute("lock table access.session, access.throttle in access exclusive mode").await?;
        let sent = tokio::spawn(request.try_clone().context("a body that can be sent again")?.send());
        let mut ended: i64 = 0;
        let until = tokio::time::Instant::now() + PATIENCE;
        while !sent.is_finished() {
            ensure!(tokio::time::Instant::now() < until, "{ended} connections were ended, and no answer has come");
            ended += other.query_one(end, &[]).await?.get::<_, i64>(0);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let answer = sent.await??;
        lock.rollback().await?;
        // A connection that was ended before and nobody had noticed: it was lost too, but not with this statement on it.
        if ended > 0 || answer.status() != StatusCode::SERVICE_UNAVAILABLE {
            ensure!(ended > 0, "it was answered without a look at the database: {}", answer.status());
            return Ok(answer);
        }
    }
    anyhow::bail!("no connection was ended while it was in use")
}

/// Five guesses, and a wait that doubles; a success would forget them.
pub async fn guesses_are_throttled(doors: &Doors<'_>) -> anyhow::Result<()> {
    let guess = async || -> anyhow::Result<(u16, Option<u32>)> {
        let body = serde_json::json!({"user": "endo.stmarys", "password": "guess"});
        let answer = doors.client.post(format!("{}/session", doors.region.url)).json(&body).send().await?;
        let wait = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        Ok((answer.status().as_u16(), wait))
    };
    for _ in 0..5 {
        ensure!(guess().await? == (401, None));
    }
    let client = doors.region.pool.get().await?;
    for (above, below) in [(0, 60), (60, 120), (120, 240)] {
        let (status, wait) = guess().await?;
        ensure!(status == 429 && wait.is_some_and(|wait| above < wait && wait <= below + 1), "{status} {wait:?}");
        // Another one may sign in from here.
        doors.token("ed.stmarys").await?;
        client.execute("update access.throttle set closed_until = now() where closed_until > now()", &[]).await?;
        ensure!(guess().await? == (401, None), "after its wait it is looked at again");
    }
    ensure!(doors.count("select count(*) from access.session where length(token_hash) <> 32").await? == 0);
    Ok(())
}
