//! Who is asking: sign-in, sessions, CSRF tokens, throttling.
//!
//! # Why
//! A session is made from an identity, however that was proved. Today the only [`Proof`] is a password; an OIDC token will
//! be another variant, and nothing behind [`identify`] changes.

use crate::{GatewayError, access::Role, address, users};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use deadpool_postgres::GenericClient;
use deadpool_postgres::Pool;
use rand::TryRngCore;
use sha2::{Digest, Sha256};
use std::{net::IpAddr, sync::LazyLock};
use tokio::sync::Semaphore;

/// A session ends after so long without a request…
pub const IDLE_MINUTES: i32 = 30;
/// …and in any case after so long.
pub const ABSOLUTE_HOURS: i32 = 12;
/// The last use of a session is written down at most so often.
const TOUCH_SECONDS: i32 = 30;
const TOKEN_BYTES: usize = 32;
/// Sign-ins fail so often for an account from one address before they wait…
pub const FAILURES_PER_PAIR_MAX: i32 = 5;
/// …from one address, whatever the account…
pub const FAILURES_PER_ADDRESS_MAX: i32 = 50;
/// …and for an account from all addresses together; where it has signed in before lately it still can.
pub const FAILURES_PER_ACCOUNT_MAX: i32 = 200;
/// So long an address is known for an account.
const KNOWN_DAYS: i32 = 30;
const THROTTLE_MINUTES: i32 = 15;
/// Password hashes take 19 MiB and tens of milliseconds each: so many at once.
const HASHES_AT_ONCE_MAX: usize = 2;
static HASHING: Semaphore = Semaphore::const_new(HASHES_AT_ONCE_MAX);
/// Unknown users cost as much time as known ones.
static NOBODYS_HASH: LazyLock<String> = LazyLock::new(|| users::hash("nobody").unwrap_or_default());

/// The reader of one request.
#[derive(Clone, Debug)]
pub struct Actor {
    pub user: String,
    pub name: String,
    pub role: Option<Role>,
    /// Ids of the user's teams, as they are now.
    pub teams: Vec<String>,
    pub request_id: String,
    /// Of the session, for forms.
    pub csrf: String,
    pub token_hash: Vec<u8>,
}

impl Actor {
    /// Somebody who has not signed in.
    pub fn nobody(user: &str, request_id: &str) -> Self {
        Self {
            user: user.to_owned(),
            name: String::new(),
            role: None,
            teams: Vec::new(),
            request_id: request_id.to_owned(),
            csrf: String::new(),
            token_hash: Vec::new(),
        }
    }

    pub fn role_name(&self) -> &'static str {
        self.role.map_or("none", Role::as_str)
    }

    pub fn roles(&self) -> &[Role] {
        self.role.as_slice()
    }
}

/// What somebody shows to prove who they are.
pub enum Proof<'a> {
    Password { user: &'a str, password: &'a str },
}

#[derive(Debug, PartialEq, Eq)]
pub enum Identified {
    User(String),
    /// Wrong, unknown or disabled: not told apart.
    Refused,
    /// Too many failures: nothing was checked.
    Throttled,
}

/// What failures are counted by. Hashed: what people type into the wrong box is not kept.
struct Keys {
    /// Account and address together: nobody closes an account for others who ask from elsewhere.
    pair: String,
    address: String,
    account: String,
}

impl Keys {
    fn new(user: &str, address: IpAddr) -> Self {
        let address = address::site(address);
        Self {
            pair: digest(&format!("pair:{address}:{user}")),
            address: digest(&format!("address:{address}")),
            account: digest(&format!("account:{user}")),
        }
    }

    /// Whether this attempt has to wait, with how often each key has failed, this attempt included.
    fn wait(&self, failures: &[(String, i32)], known: bool) -> bool {
        failures.iter().any(|(key, failures)| {
            let max = match key {
                key if *key == self.pair => FAILURES_PER_PAIR_MAX,
                key if *key == self.address => FAILURES_PER_ADDRESS_MAX,
                _ if known => return false,
                _ => FAILURES_PER_ACCOUNT_MAX,
            };
            *failures > max
        })
    }
}

/// Checks the proof. `address` is where it came from.
pub async fn identify(pool: &Pool, proof: &Proof<'_>, address: IpAddr) -> Result<Identified, GatewayError> {
    let Proof::Password { user, password } = proof;
    let client = pool.get().await?;
    let keys = Keys::new(user, address);
    // Counted before the check, so that a burst of guesses cannot outrun the count.
    let counted = client
        .query(
            "insert into access.throttle as t (key, failures, window_ends_at)
             select key, 1, now() + make_interval(mins => $2) from unnest($1::text[]) as key order by key
             on conflict (key) do update set
                failures = case when t.window_ends_at > now() then t.failures + 1 else 1 end,
                window_ends_at = case when t.window_ends_at > now() then t.window_ends_at else excluded.window_ends_at end
             returning key, failures",
            &[&vec![&keys.pair, &keys.address, &keys.account], &THROTTLE_MINUTES],
        )
        .await?;
    let counted: Vec<(String, i32)> = counted.iter().map(|row| (row.get(0), row.get(1))).collect();
    let known =
        "select exists (select from access.known_address where key = $1 and at > now() - make_interval(days => $2))";
    let known: bool = client.query_one(known, &[&keys.pair, &KNOWN_DAYS]).await?.get(0);
    if keys.wait(&counted, known) {
        return Ok(Identified::Throttled);
    }
    let stored: Option<String> = client
        .query_opt("select password_hash from access.user where id = $1 and not disabled", &[user])
        .await?
        .and_then(|row| row.get(0));
    let (is_user, password) = (stored.is_some(), (*password).to_owned());
    let permit = HASHING.acquire().await.map_err(|_| GatewayError::Hash)?;
    let hash = stored.unwrap_or_else(|| NOBODYS_HASH.clone());
    let right =
        tokio::task::spawn_blocking(move || users::verify(&password, &hash)).await.map_err(|_| GatewayError::Hash)?;
    drop(permit);
    if is_user && right {
        client.execute("delete from access.throttle where key = $1", &[&keys.pair]).await?;
        let others = vec![&keys.address, &keys.account];
        client.execute("update access.throttle set failures = failures - 1 where key = any($1)", &[&others]).await?;
        let knows = "insert into access.known_address (key, user_id) values ($1, $2) on conflict (key) do update set at = now()";
        client.execute(knows, &[&keys.pair, user]).await?;
        return Ok(Identified::User((*user).to_owned()));
    }
    Ok(Identified::Refused)
}

/// Opens a session and returns its token, which is kept nowhere.
pub async fn open(pool: &Pool, user: &str) -> Result<String, GatewayError> {
    let (token, csrf) = (random_token()?, random_token()?);
    let client = pool.get().await?;
    client.execute("delete from access.session where ends_at < now()", &[]).await?;
    client
        .execute(
            "insert into access.session (token_hash, user_id, csrf, ends_at)
             values ($1, $2, $3, now() + make_interval(hours => $4))",
            &[&hash_token(&token), &user, &csrf, &ABSOLUTE_HOURS],
        )
        .await?;
    Ok(token)
}

pub async fn close(pool: &Pool, token_hash: &[u8]) -> Result<(), GatewayError> {
    pool.get().await?.execute("delete from access.session where token_hash = $1", &[&token_hash]).await?;
    Ok(())
}

/// The user behind a live session. `touch`: this is a request of theirs, which keeps the session from going idle.
pub async fn actor(
    client: &impl GenericClient,
    token_hash: &[u8],
    request_id: &str,
    touch: bool,
) -> Result<Option<Actor>, GatewayError> {
    let sql = "select u.id, u.name, u.role, u.teams, s.csrf, s.used_at < now() - make_interval(secs => $3)
        from access.session s join access.user u on u.id = s.user_id
        where s.token_hash = $1 and not u.disabled and s.ends_at > now()
            and s.used_at > now() - make_interval(mins => $2)";
    let touch_after = f64::from(TOUCH_SECONDS);
    let Some(row) = client.query_opt(sql, &[&token_hash, &IDLE_MINUTES, &touch_after]).await? else {
        return Ok(None);
    };
    if touch && row.get(5) {
        client.execute("update access.session set used_at = now() where token_hash = $1", &[&token_hash]).await?;
    }
    let role: String = row.get(2);
    Ok(Some(Actor {
        user: row.get(0),
        name: row.get(1),
        role: Role::parse(&role),
        teams: row.get(3),
        request_id: request_id.to_owned(),
        csrf: row.get(4),
        token_hash: token_hash.to_vec(),
    }))
}

pub fn hash_token(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// Compares without telling how far two tokens agree.
pub fn same_token(one: &str, two: &str) -> bool {
    !one.is_empty() && hash_token(one) == hash_token(two)
}

fn digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes()))
}

fn random_token() -> Result<String, GatewayError> {
    let mut bytes = [0_u8; TOKEN_BYTES];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(|_| GatewayError::Hash)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_closes_anothers_account() {
        let keys = |address: &str| Keys::new("ed.stmarys", address.parse().expect("an address"));
        let (here, there) = (keys("192.0.2.7"), keys("198.51.100.9"));
        assert!(here.pair != there.pair && here.address != there.address && here.account == there.account);
        let counted = |pair, address, account| {
            [(here.pair.clone(), pair), (here.address.clone(), address), (here.account.clone(), account)]
        };
        for (pair, address, account, known, waits) in [
            (FAILURES_PER_PAIR_MAX, FAILURES_PER_ADDRESS_MAX, FAILURES_PER_ACCOUNT_MAX, false, false),
            (FAILURES_PER_PAIR_MAX + 1, 1, 1, true, true),
            (1, FAILURES_PER_ADDRESS_MAX + 1, 1, true, true),
            // Guesses from everywhere close the account to strangers, not to where its user sits.
            (1, 1, FAILURES_PER_ACCOUNT_MAX + 1, false, true),
            (1, 1, FAILURES_PER_ACCOUNT_MAX + 1, true, false),
        ] {
            assert_eq!(here.wait(&counted(pair, address, account), known), waits, "{pair} {address} {account} {known}");
        }
    }

    #[test]
    fn tokens_are_256_bits_and_never_repeat() {
        let (one, two) = (random_token().expect("randomness"), random_token().expect("randomness"));
        assert_eq!(URL_SAFE_NO_PAD.decode(&one).map(|bytes| bytes.len()), Ok(TOKEN_BYTES));
        assert_ne!(one, two);
        assert!(same_token(&one, &one) && !same_token(&one, &two) && !same_token("", ""));
    }
}
