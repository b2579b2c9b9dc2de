//! Who is asking: sign-in, sessions, CSRF tokens, throttling.
//!
//! # Why
//! A session is made from an identity, however that was proved. Today the only [`Proof`] is a password; an OIDC token will
//! be another variant, and nothing behind [`identify`] changes.

use crate::{
    GatewayError,
    access::{Channel, Role},
    address, database,
    record::micros,
    throttle::{self, Limit, Tried},
    users,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use deadpool_postgres::{Client, GenericClient, Pool};
use event::Micros;
use rand::TryRngCore;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, net::IpAddr, sync::LazyLock};
use tokio::sync::Semaphore;
use tokio_postgres::Row;

/// A session ends after so long without a request…
pub const IDLE_MINUTES: i32 = 30;
/// …and in any case after so long.
pub const ABSOLUTE_HOURS: i32 = 12;
/// The last use of a session is written down at most so often.
const TOUCH_SECONDS: i32 = 30;
const TOKEN_BYTES: usize = 32;
/// Sign-ins fail so often for an account from one address before the next one waits, longer and longer…
const OF_A_PAIR: Limit = Limit::Doubling(5);
/// …from one address, whatever the account…
const OF_AN_ADDRESS: Limit = Limit::Window(50);
/// …and for an account from all addresses together; where it has signed in before lately it still can.
const OF_AN_ACCOUNT: Limit = Limit::Window(200);
/// So long an address is known for an account.
const KNOWN_DAYS: i32 = 30;
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
    /// The door at which they ask.
    pub channel: Channel,
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
            channel: Channel::Page,
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
    /// Too many failures: nothing was checked, and for so many seconds nothing will be.
    Throttled(u32),
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

    fn limit(&self, key: &str) -> Limit {
        match key {
            key if *key == self.pair => OF_A_PAIR,
            key if *key == self.address => OF_AN_ADDRESS,
            _ => OF_AN_ACCOUNT,
        }
    }

    /// Counts this attempt; tells until when it has to wait, if it has to. `known`: the account has signed in from here.
    fn count(&self, before: &[(String, Tried)], known: bool, now: Micros) -> (Vec<(String, Tried)>, Option<Micros>) {
        let counted = |(key, tried): &(String, Tried)| {
            let (tried, may) = throttle::attempt(*tried, self.limit(key), now);
            (key.clone(), tried, may.err())
        };
        let counted: Vec<_> = before.iter().map(counted).collect();
        // Asked too early here: that is nothing to others, at this address or of this account.
        if let Some((.., wait)) = counted.iter().find(|(key, _, wait)| *key == self.pair && wait.is_some()) {
            return (before.to_vec(), *wait);
        }
        // Guesses from everywhere close the account to strangers, not to where its user sits.
        let counts = |key: &String| !(known && *key == self.account);
        let wait = counted.iter().filter(|(key, ..)| counts(key)).filter_map(|(.., wait)| *wait).max();
        (counted.into_iter().map(|(key, tried, _)| (key, tried)).collect(), wait)
    }
}

/// Checks the proof. `address` is where it came from.
pub async fn identify(pool: &Pool, proof: &Proof<'_>, address: IpAddr) -> Result<Identified, GatewayError> {
    let Proof::Password { user, password } = proof;
    let mut client = pool.get().await?;
    let keys = Keys::new(user, address);
    if let Some(seconds) = count(&mut client, &keys).await? {
        return Ok(Identified::Throttled(seconds));
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

/// Counts an attempt, before it is checked: a burst of guesses cannot outrun the count. Tells how many seconds it waits.
async fn count(client: &mut Client, keys: &Keys) -> Result<Option<u32>, GatewayError> {
    let transaction = database::begin_change(client).await?;
    let all = vec![&keys.pair, &keys.address, &keys.account];
    let known =
        "select exists (select from access.known_address where key = $1 and at > now() - make_interval(days => $2))";
    let known: bool = transaction.query_one(known, &[&keys.pair, &KNOWN_DAYS]).await?.get(0);
    let begin = "insert into access.throttle (key, failures, window_ends_at)
        select key, 0, now() from unnest($1::text[]) as key order by key on conflict do nothing";
    transaction.execute(begin, &[&all]).await?;
    let (now, ends, closed) = (micros("clock_timestamp()"), micros("window_ends_at"), micros("closed_until"));
    let locked = format!(
        "select key, failures, {ends}, case when isfinite(closed_until) then {closed} end, {now}
         from access.throttle where key = any($1) order by key for update"
    );
    let rows = transaction.query(&locked, &[&all]).await?;
    let now: Micros = rows.iter().map(|row| row.get(4)).max().unwrap_or_default();
    let before = rows.iter().map(|row| {
        let closed_until = row.get::<_, Option<Micros>>(3).unwrap_or(Micros::MIN);
        (row.get(0), Tried { failures: row.get(1), window_ends_at: row.get(2), closed_until })
    });
    let (after, wait) = keys.count(&before.collect::<Vec<_>>(), known, now);
    let of = |it: fn(&Tried) -> Micros| -> Vec<Option<f64>> {
        let seconds = |at: Micros| (at != Micros::MIN).then_some(at as f64 / 1e6);
        after.iter().map(|(_, tried)| seconds(it(tried))).collect()
    };
    let named: Vec<&str> = after.iter().map(|(key, _)| key.as_str()).collect();
    let failures: Vec<i32> = after.iter().map(|(_, tried)| tried.failures).collect();
    let write = "update access.throttle t set failures = n.failures, window_ends_at = to_timestamp(n.ends),
            closed_until = coalesce(to_timestamp(n.closed), '-infinity')
        from unnest($1::text[], $2::int[], $3::float8[], $4::float8[]) as n(key, failures, ends, closed)
        where t.key = n.key";
    let (ends, closed) = (of(|tried| tried.window_ends_at), of(|tried| tried.closed_until));
    transaction.execute(write, &[&named, &failures, &ends, &closed]).await?;
    transaction.commit().await?;
    Ok(wait.map(|until| u32::try_from((until - now) / 1_000_000 + 1).unwrap_or(u32::MAX)))
}

/// Opens a session and returns its token, which is kept nowhere.
pub async fn open(pool: &Pool, user: &str) -> Result<String, GatewayError> {
    let (token, csrf) = (random_token()?, random_token()?);
    let client = pool.get().await?;
    client.execute("delete from access.session where ends_at < now()", &[]).await?;
    client.execute("delete from access.throttle where window_ends_at < now()", &[]).await?;
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

/// The users behind live sessions, by the hashes of their tokens.
pub async fn actors(
    client: &impl GenericClient,
    token_hashes: &[&[u8]],
) -> Result<BTreeMap<Vec<u8>, Actor>, GatewayError> {
    let sql = format!("{ACTORS} where s.token_hash = any($1) and {LIVE}");
    let rows = client.query(&sql, &[&token_hashes, &IDLE_MINUTES]).await?;
    Ok(rows.iter().map(|row| (row.get(0), actor_of(row))).collect())
}

/// The user behind a live session, whose request this is: it keeps the session from going idle where it is one of theirs
/// (`touch`).
pub async fn actor(
    client: &impl GenericClient,
    token_hash: &[u8],
    request_id: &str,
    touch: bool,
) -> Result<Option<Actor>, GatewayError> {
    let sql = format!("{ACTORS} where s.token_hash = $1 and {LIVE}");
    let Some(row) = client.query_opt(&sql, &[&token_hash, &IDLE_MINUTES]).await? else {
        return Ok(None);
    };
    if touch {
        let touch = "update access.session set used_at = now()
            where token_hash = $1 and used_at < now() - make_interval(secs => $2)";
        client.execute(touch, &[&token_hash, &f64::from(TOUCH_SECONDS)]).await?;
    }
    Ok(Some(Actor { request_id: request_id.to_owned(), ..actor_of(&row) }))
}

const ACTORS: &str = "select s.token_hash, u.id, u.name, u.role, u.teams, s.csrf
    from access.session s join access.user u on u.id = s.user_id";
const LIVE: &str = "not u.disabled and s.ends_at > now() and s.used_at > now() - make_interval(mins => $2)";

fn actor_of(row: &Row) -> Actor {
    let role: String = row.get(3);
    Actor {
        user: row.get(1),
        name: row.get(2),
        role: Role::parse(&role),
        channel: Channel::Page,
        teams: row.get(4),
        request_id: String::new(),
        csrf: row.get(5),
        token_hash: row.get(0),
    }
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
        let now = 1_000_000_000_000;
        let waits = |pair, address, account, known| {
            let tried = |failures| Tried { failures, window_ends_at: now + 1, closed_until: Micros::MIN };
            let before = [(here.pair.clone(), pair), (here.address.clone(), address), (here.account.clone(), account)];
            here.count(&before.map(|(key, failures)| (key, tried(failures))), known, now).1.is_some()
        };
        let (Limit::Doubling(pair) | Limit::Window(pair)) = OF_A_PAIR;
        let (Limit::Doubling(address) | Limit::Window(address)) = OF_AN_ADDRESS;
        let (Limit::Doubling(account) | Limit::Window(account)) = OF_AN_ACCOUNT;
        // Its last attempt before the wait.
        assert!(!waits(pair - 1, address - 1, account - 1, false));
        assert!(waits(0, address, 0, true));
        // Guesses from everywhere close the account to strangers, not to where its user sits.
        assert!(waits(0, 0, account, false) && !waits(0, 0, account, true));
    }

    #[test]
    fn tokens_are_256_bits_and_never_repeat() {
        let (one, two) = (random_token().expect("randomness"), random_token().expect("randomness"));
        assert_eq!(URL_SAFE_NO_PAD.decode(&one).map(|bytes| bytes.len()), Ok(TOKEN_BYTES));
        assert_ne!(one, two);
        assert!(same_token(&one, &one) && !same_token(&one, &two) && !same_token("", ""));
    }
}
