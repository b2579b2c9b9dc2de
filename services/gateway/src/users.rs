//! The people who may sign in: `site/users.toml`, seeded into `access.user` with Argon2id hashes.

use crate::{GatewayError, access::Role, database};
use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier, password_hash::SaltString};
use boot::settings::Document;
use deadpool_postgres::Pool;
use rand::TryRngCore;
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path};

/// Longer passwords are refused before they are hashed.
pub const PASSWORD_BYTES_MAX: usize = 256;
pub const USERS_MAX: usize = 10_000;
const SALT_BYTES: usize = 16;

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub id: String,
    pub name: String,
    pub role: String,
    pub teams: Vec<String>,
}

/// Reads `users.toml`; `known_team` says which team ids the site has. All mistakes at once.
pub fn parse(file: &str, text: &str, known_team: impl Fn(&str) -> bool) -> Result<Vec<User>, Vec<String>> {
    let named = |mistake: &boot::settings::Mistake| format!("{file}: {mistake}");
    let mut document = match Document::parse(text, std::iter::empty()) {
        Ok(document) => document,
        Err(mistakes) => return Err(mistakes.0.iter().map(named).collect()),
    };
    let users: Vec<User> = document.sections("user");
    if users.len() > USERS_MAX {
        document.mistake("user", 0, "", format!("more than {USERS_MAX} users"));
    }
    let mut seen = std::collections::BTreeSet::new();
    for (index, user) in users.iter().enumerate() {
        if user.id.trim().is_empty() || !seen.insert(&user.id) {
            document.mistake("user", index, "id", format!("`{}` is empty or used twice", user.id));
        }
        if Role::parse(&user.role).is_none() {
            let roles: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
            document.mistake("user", index, "role", format!("`{}` is not one of {}", user.role, roles.join(", ")));
        }
        for team in user.teams.iter().filter(|team| !known_team(team)) {
            document.mistake("user", index, "teams", format!("`{team}` is not a team of the site"));
        }
    }
    document.finish().map_err(|mistakes| mistakes.0.iter().map(named).collect::<Vec<_>>())?;
    Ok(users)
}

/// Puts the users of `users_file` into the database, with the passwords of `passwords_file` (lines of `user = password`)
/// as Argon2id hashes. A user without a password there cannot sign in; users no longer in the file are disabled.
pub async fn seed(pool: &Pool, users_file: &Path, passwords_file: &Path) -> Result<usize, GatewayError> {
    database::migrate(pool).await?;
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|source| GatewayError::File { path: path.display().to_string(), source })
    };
    let users = parse(&users_file.display().to_string(), &read(users_file)?, |_| true).map_err(GatewayError::Site)?;
    let mut passwords = passwords(&read(passwords_file)?);
    let mut hashed: Vec<(User, Option<String>)> = Vec::with_capacity(users.len());
    for user in users {
        let hash = match passwords.remove(&user.id) {
            Some(password) => {
                Some(tokio::task::spawn_blocking(move || hash(&password)).await.map_err(|_| GatewayError::Hash)??)
            }
            None => None,
        };
        hashed.push((user, hash));
    }
    let mut client = pool.get().await?;
    let transaction = database::begin_change(&mut client).await?;
    let ids: Vec<&str> = hashed.iter().map(|(user, _)| user.id.as_str()).collect();
    transaction.execute("update access.user set disabled = true where id <> all($1)", &[&ids]).await?;
    for (user, hash) in &hashed {
        let sql = "insert into access.user (id, name, role, teams, password_hash) values ($1, $2, $3, $4, $5)
            on conflict (id) do update set name = excluded.name, role = excluded.role, teams = excluded.teams,
                password_hash = excluded.password_hash, disabled = false";
        transaction.execute(sql, &[&user.id, &user.name, &user.role, &user.teams, hash]).await?;
    }
    transaction.commit().await?;
    Ok(hashed.len())
}

fn passwords(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(user, password)| {
            (user.trim().trim_matches('"').to_owned(), password.trim().trim_matches('"').to_owned())
        })
        .filter(|(_, password)| !password.is_empty())
        .collect()
}

/// Argon2id with the crate's parameters (OWASP's: 19 MiB, two passes), in PHC form.
pub fn hash(password: &str) -> Result<String, GatewayError> {
    let mut salt = [0_u8; SALT_BYTES];
    rand::rngs::OsRng.try_fill_bytes(&mut salt).map_err(|_| GatewayError::Hash)?;
    let salt = SaltString::encode_b64(&salt).map_err(|_| GatewayError::Hash)?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt).map_err(|_| GatewayError::Hash)?;
    Ok(hash.to_string())
}

/// Slow on purpose: call it on a blocking thread.
pub fn verify(password: &str, hash: &str) -> bool {
    password.len() <= PASSWORD_BYTES_MAX
        && PasswordHash::new(hash)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_argon2id_and_salted() {
        let (one, two) = (hash("correct horse").expect("a hash"), hash("correct horse").expect("a hash"));
        assert!(one.starts_with("$argon2id$"));
        assert_ne!(one, two);
        assert!(verify("correct horse", &one));
        assert!(!verify("wrong", &one));
        assert!(!verify(&"x".repeat(PASSWORD_BYTES_MAX + 1), &one));
        assert!(!verify("correct horse", "not a hash"));
    }

    #[test]
    fn the_demos_users_are_right_and_mistakes_come_together() {
        let teams = include_str!("../../../site/teams.toml");
        let known = |team: &str| teams.contains(&format!("id = \"{team}\""));
        assert_eq!(
            parse("users.toml", include_str!("../../../site/users.toml"), known).map(|users| users.len()),
            Ok(7)
        );
        let bad = "[[user]]\nid = 'a'\nname = 'A'\nrole = 'boss'\nteams = ['nowhere']\n\n[[user]]\nid = 'a'\nname = 'B'\n\
                   role = 'clinician'\nteams = []\n";
        assert_eq!(
            parse("users.toml", bad, known),
            Err(vec![
                "users.toml: line 4: user.role: `boss` is not one of clinician, practice-staff, pharmacist, social-care, \
                 community-nurse, patient, privacy-officer, data-engineer, safety-officer, data-quality, subscriber"
                    .to_owned(),
                "users.toml: line 5: user.teams: `nowhere` is not a team of the site".to_owned(),
                "users.toml: line 8: user.id: `a` is empty or used twice".to_owned(),
            ])
        );
    }

    #[test]
    fn password_files_hold_a_user_a_line() {
        let read = passwords("# demo\ngp.riverside = \"a=b\"\nengineer=xyz\nempty =\n");
        assert_eq!(read.get("gp.riverside").map(String::as_str), Some("a=b"));
        assert_eq!(read.get("engineer").map(String::as_str), Some("xyz"));
        assert_eq!(read.len(), 2);
    }
}
