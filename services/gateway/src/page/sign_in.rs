//! Signing in and out.

use super::{Frame, render};
use crate::{
    access::{AboutNobody, Released},
    app::{OverTls, Problem, RequestId, Shared, Signed, cookie},
    audit,
    session::{self, Actor, Identified, Proof},
};
use askama::Template;
use axum::{
    Extension, Form,
    extract::{ConnectInfo, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    error: Option<String>,
    user: String,
}

impl AboutNobody for SignInPage {}

#[derive(Deserialize)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

#[derive(Deserialize)]
pub struct Csrf {
    pub csrf: String,
}

pub async fn form() -> Result<Response, Problem> {
    let page = SignInPage { frame: Frame::for_nobody("Sign in"), error: None, user: String::new() };
    render(Released::about_nobody(page))
}

/// Checks the credentials and opens a session; each attempt is audited.
pub async fn open(
    app: &Shared,
    credentials: &Credentials,
    address: IpAddr,
    request_id: &str,
) -> Result<Result<String, Problem>, Problem> {
    let user = credentials.user.trim();
    let proof = Proof::Password { user, password: &credentials.password };
    let identified = session::identify(&app.pool, &proof, address).await?;
    let client = app.pool.get().await?;
    let (allow, why) = match &identified {
        Identified::User(_) => (true, "password"),
        Identified::Refused => (false, "wrong user or password"),
        Identified::Throttled(_) => (false, "too many attempts"),
    };
    // What was typed is only kept when it is a user: people type passwords into the wrong box.
    let known = client.query_opt("select id from access.user where id = $1", &[&user]).await?.is_some();
    let actor = Actor::nobody(if known { user } else { "unknown" }, request_id);
    let entry = audit::Entry { action: "sign-in", allow, why, reason: None, withheld: false };
    audit::write(&client, &actor, &entry, &[]).await?;
    drop(client);
    Ok(match identified {
        Identified::User(user) => Ok(session::open(&app.pool, &user).await?),
        Identified::Refused => Err(Problem::NotSignedIn),
        Identified::Throttled(seconds) => Err(Problem::Throttled(seconds)),
    })
}

pub async fn sign_in(
    State(app): State<Shared>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    Extension(RequestId(id)): Extension<RequestId>,
    Extension(over_tls): Extension<OverTls>,
    headers: HeaderMap,
    Form(credentials): Form<Credentials>,
) -> Result<Response, Problem> {
    let problem = match open(&app, &credentials, app.client_address(address, &headers), &id).await? {
        Ok(token) => {
            let cookie = cookie(&token, app.settings.secure(over_tls));
            return Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response());
        }
        Err(problem) => problem,
    };
    let error = match problem {
        Problem::Throttled(seconds) => {
            let minutes = seconds.div_ceil(60);
            let plural = if minutes == 1 { "" } else { "s" };
            format!("Too many attempts. Wait {minutes} minute{plural}, then try again.")
        }
        _ => "The user name or password is wrong.".to_owned(),
    };
    let page = SignInPage { frame: Frame::for_nobody("Error: Sign in"), error: Some(error), user: credentials.user };
    let mut response = render(Released::about_nobody(page))?;
    *response.status_mut() = problem.status();
    problem.hint(response.headers_mut());
    Ok(response)
}

pub async fn sign_out(
    State(app): State<Shared>,
    Extension(over_tls): Extension<OverTls>,
    signed: Signed,
    Form(form): Form<Csrf>,
) -> Result<Response, Problem> {
    signed.check_csrf(Some(&form.csrf))?;
    session::close(&app.pool, &signed.actor.token_hash).await?;
    Ok(([(header::SET_COOKIE, cookie("", app.settings.secure(over_tls)))], Redirect::to("/sign-in")).into_response())
}
