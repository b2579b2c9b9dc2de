//! What a request brings along, before any handler reads it: its body arrives in time, and nothing in it holds a NUL.
//!
//! # Why
//! PostgreSQL's text knows no NUL, so one that got as far as a statement would fail there as if the gateway were at
//! fault. One place looks at every way in, the address, a form and JSON, so that a new form need not think of it.

use crate::{BODY_BYTES_MAX, app::Problem};
use axum::{
    body::Body,
    extract::Request,
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::timeout;

/// The body of a request has arrived after so long.
pub const BODY_WITHIN: Duration = Duration::from_secs(15);

/// Inside what renders problems, so that each door says it in its own form.
pub async fn check(request: Request, next: Next) -> Response {
    match whole(request).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

async fn whole(request: Request) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let body = timeout(BODY_WITHIN, read(body)).await.map_err(|_| Problem::TooSlow)??;
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let address = parts.uri.path_and_query().map(|it| it.as_str()).unwrap_or_default();
    if form_holds_nul(address.as_bytes()) || holds_nul(kind, &body) {
        return Err(Problem::Bad("there is a NUL character in it, and no text here can have one: take it out"));
    }
    Ok(Request::from_parts(parts, Body::from(body)))
}

async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    let mut all = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::Bad("the request was cut off"))?;
        if all.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(Problem::TooLarge);
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

fn holds_nul(kind: &str, body: &[u8]) -> bool {
    let json = kind.split(';').next().is_some_and(|kind| kind.trim().to_ascii_lowercase().ends_with("json"));
    if json { json_holds_nul(body) } else { form_holds_nul(body) }
}

/// Of a form or an address. `%00` is a NUL whatever stands before it.
fn form_holds_nul(text: &[u8]) -> bool {
    text.contains(&0) || text.windows(3).any(|three| three == b"%00")
}

/// `\u0000`, but not `\\u0000`.
fn json_holds_nul(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | 0)) {
        let escape = &rest[at..];
        if escape[0] == 0 || escape.starts_with(b"\\u0000") {
            return true;
        }
        rest = escape.get(2..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_found_however_it_is_written() {
        for (kind, text, found) in [
            ("application/x-www-form-urlencoded", "user=a%00b", true),
            ("application/x-www-form-urlencoded", "user=a\0b", true),
            ("application/x-www-form-urlencoded", "us%00er=a", true),
            ("application/x-www-form-urlencoded", "user=%2500", false),
            ("application/x-www-form-urlencoded", "user=%0001", true),
            ("application/x-www-form-urlencoded", "user=%01%20", false),
            ("", "user=a%00b", true),
            ("application/json", r#"{"user": "a\u0000b"}"#, true),
            ("Application/JSON; charset=utf-8", r#"{"user": "\\\u0000"}"#, true),
            ("application/json", "{\"user\": \"a\0b\"}", true),
            ("application/json", r#"{"user": "a\\u0000b"}"#, false),
            ("application/json", r#"{"user": "a%00b"}"#, false),
            ("application/json", r#"{"user": "\"#, false),
        ] {
            assert_eq!(holds_nul(kind, text.as_bytes()), found, "{kind} {text:?}");
        }
    }
}
