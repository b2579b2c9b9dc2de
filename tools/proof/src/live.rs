//! A reader of the gateway's event stream, as a browser would be one.

use crate::running::http;
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::time::Duration;

/// No event of ours is longer.
const EVENT_BYTES_MAX: usize = 256 * 1024;

/// Signs in and returns a bearer token.
pub async fn sign_in(gateway: &str, user: &str, password: &str) -> anyhow::Result<String> {
    let answer =
        http().post(format!("{gateway}/session")).json(&json!({ "user": user, "password": password })).send().await?;
    ensure!(answer.status().is_success(), "{user} cannot sign in: {}", answer.status());
    let body: Value = answer.json().await?;
    Ok(body["token"].as_str().context("no token in the answer")?.to_owned())
}

/// One server-sent event.
#[derive(Debug, Default)]
pub struct Event {
    pub id: Option<String>,
    pub name: String,
    pub data: Value,
}

pub struct Stream {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl Stream {
    pub async fn open(gateway: &str, token: &str, last_event_id: Option<&str>) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).build()?;
        let mut request =
            client.get(format!("{gateway}/events")).bearer_auth(token).header("accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await?;
        ensure!(response.status().is_success(), "no event stream: {}", response.status());
        Ok(Self { response, buffer: Vec::new() })
    }

    /// The next event, heartbeats among them.
    pub async fn next(&mut self) -> anyhow::Result<Event> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let text: Vec<u8> = self.buffer.drain(..end + 2).collect();
                if let Some(event) = parse(&String::from_utf8_lossy(&text)) {
                    return Ok(event);
                }
                continue;
            }
            ensure!(self.buffer.len() < EVENT_BYTES_MAX, "an event without end");
            let chunk = self.response.chunk().await?.context("the event stream ended")?;
            self.buffer.extend(chunk.iter().filter(|byte| **byte != b'\r'));
        }
    }
}

/// An event block; `None` for a comment.
fn parse(block: &str) -> Option<Event> {
    let mut event = Event::default();
    let mut data = String::new();
    for line in block.lines() {
        let Some((field, value)) = line.split_once(':') else { continue };
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut event.name),
            "data" => data.push_str(value),
            _ => {}
        }
    }
    event.data = serde_json::from_str(&data).unwrap_or(Value::Null);
    (!data.is_empty() || !event.name.is_empty()).then_some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_become_events() {
        let event = parse("id: 7\nevent: alert\ndata: {\"a\":1}\n\n").unwrap();
        assert_eq!((event.id.as_deref(), event.name.as_str(), &event.data["a"]), (Some("7"), "alert", &json!(1)));
        assert!(parse(": comment\n\n").is_none());
    }
}
