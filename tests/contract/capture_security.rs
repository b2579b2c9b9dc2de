//! Whom the connector talks to, and what it never says: certificates, proofs of the password, and servers that want
//! the password itself.

use super::{
    capture_signal::{inserts, want},
    capture_stack::{Bench, Connector, SOURCE},
};
use connector_postgres::{Phase, Settings};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::{
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const SCHEMA: &str = "create schema lims; create table lims.result (id bigint primary key, note text)";

/// Signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(bench: &Bench, name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let file = bench.file(name);
        std::fs::write(&file, params.self_signed(&key)?.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), file })
    }

    /// A certificate and its key.
    fn certificate(&self, host: &str) -> anyhow::Result<(String, String)> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![host.to_owned()])?.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

/// Writes files of the server's data folder, and lets it read them.
async fn install(bench: &Bench, files: &[(&str, &str)]) -> anyhow::Result<()> {
    let client = bench.database.connect(SOURCE).await?;
    let folder: String = client.query_one("show data_directory", &[]).await?.get(0);
    for (name, text) in files {
        let write = format!(
            "copy (select unnest(string_to_array($text${text}$text$, E'\\n'))) to program \
             'umask 077; cat > \"{folder}/{name}\"'"
        );
        client.batch_execute(&write).await?;
    }
    let loaded = "select pg_conf_load_time()::text";
    let before: String = client.query_one(loaded, &[]).await?.get(0);
    client.batch_execute("select pg_reload_conf()").await?;
    while bench.database.connect(SOURCE).await?.query_one(loaded, &[]).await?.get::<_, String>(0) == before {}
    Ok(())
}

/// Who may connect: the superuser of the test, and the connector's role as the lines say.
async fn admit(bench: &Bench, lines: &str) -> anyhow::Result<()> {
    install(bench, &[("pg_hba.conf", &format!("host all postgres 127.0.0.1/32 scram-sha-256\n{lines}\n"))]).await
}

/// The connector waits for an operator with these words.
async fn refused(connector: &Connector, words: &str) -> anyhow::Result<()> {
    connector.wait(|connector| connector.status.view().refused.is_some()).await?;
    let view = connector.status.view();
    let why = view.refused.unwrap_or_default();
    anyhow::ensure!(view.phase == Phase::Refused && why.contains(words), "it says: {why}");
    Ok(())
}

async fn refused_with(bench: &Bench, settings: Settings, words: &str) -> anyhow::Result<()> {
    let connector = bench.connector(settings);
    refused(&connector, words).await?;
    connector.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_server_that_the_certificate_names_is_talked_to_and_only_in_proofs() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let (authority, stranger) = (Authority::new(&bench, "ca.pem")?, Authority::new(&bench, "stranger.pem")?);
    let secured = Settings { ca_file: Some(authority.file.clone()), ..bench.settings() };
    refused_with(&bench, secured.clone(), "does not offer TLS").await?;

    let (certificate, key) = authority.certificate("db.elsewhere")?;
    bench.database.execute(SOURCE, "alter system set ssl = on").await?;
    install(&bench, &[("server.crt", &certificate), ("server.key", &key)]).await?;
    admit(&bench, "hostssl all capture 127.0.0.1/32 scram-sha-256").await?;
    let connector = bench.connector(secured.clone());
    refused(&connector, "made out to another host").await?;
    let (certificate, key) = authority.certificate("127.0.0.1")?;
    install(&bench, &[("server.crt", &certificate), ("server.key", &key)]).await?;
    // As `causeway source resume` does: the same process goes on.
    want(&bench, |desired| desired.paused = false).await?;
    connector.wait_ready().await?;
    bench.database.execute(SOURCE, "insert into lims.result values (1, 'sealed')").await?;
    bench.log(|items| inserts(items) == 1).await?;
    let sessions = "select count(*) filter (where s.ssl), count(*) filter (where not s.ssl),
                    count(*) filter (where a.backend_type = 'walsender')
                    from pg_stat_ssl s join pg_stat_activity a using (pid) where a.usename = 'capture'";
    let row = bench.database.connect(SOURCE).await?.query_one(sessions, &[]).await?;
    let (sealed, open, senders): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert!(sealed >= 2 && open == 0 && senders == 1, "{sealed} sessions with TLS, {open} without");
    connector.stop().await?;

    let strange = Settings { ca_file: Some(stranger.file.clone()), ..secured.clone() };
    refused_with(&bench, strange, "no authority in `ca_file`").await?;
    // Within TLS the password is not said either, and a proof is bound to the certificate.
    admit(&bench, "hostssl all capture 127.0.0.1/32 password").await?;
    refused_with(&bench, secured.clone(), "asks for the password itself").await?;
    admit(&bench, "hostssl all capture 127.0.0.1/32 trust").await?;
    refused_with(&bench, secured, "SCRAM with channel binding").await?;
    admit(&bench, "host all capture 127.0.0.1/32 password").await?;
    refused_with(&bench, bench.settings(), "asks for the password itself").await?;
    let old = format!(
        "set password_encryption = 'md5'; alter role capture password '{}'",
        bench.database.password("capture")?
    );
    bench.database.execute(SOURCE, &old).await?;
    admit(&bench, "host all capture 127.0.0.1/32 md5").await?;
    refused_with(&bench, bench.settings(), "asks for an MD5").await
}

/// Which sessions the server below wants the password of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    All,
    /// It passes the others on to the true server.
    OfReplication,
}

/// A server in the true one's place. Keeps every byte that it is told.
async fn impostor(bench: &Bench, wants: Wants) -> anyhow::Result<(u16, Arc<Mutex<Vec<u8>>>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let (port, truth) = (listener.local_addr()?.port(), bench.database.address());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, truth.clone(), wants, Arc::clone(&kept)));
        }
    });
    Ok((port, heard))
}

async fn serve(mut client: TcpStream, truth: String, wants: Wants, heard: Arc<Mutex<Vec<u8>>>) -> std::io::Result<()> {
    let keep = |bytes: &[u8]| heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend_from_slice(bytes);
    let length = client.read_u32().await?;
    let mut startup = vec![0; length.saturating_sub(4) as usize];
    client.read_exact(&mut startup).await?;
    keep(&startup);
    let replicates = startup.windows(11).any(|word| word == b"replication");
    let mut piece = [0; 4_096];
    if wants == Wants::All || replicates {
        client.write_all(b"R\0\0\0\x08\0\0\0\x03").await?;
        loop {
            match client.read(&mut piece).await? {
                0 => return Ok(()),
                read => keep(&piece[..read]),
            }
        }
    }
    let mut server = TcpStream::connect(truth).await?;
    server.write_u32(length).await?;
    server.write_all(&startup).await?;
    let (mut from_server, mut to_server) = server.into_split();
    let (mut from_client, mut to_client) = client.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    loop {
        match from_client.read(&mut piece).await? {
            0 => return Ok(()),
            read => {
                keep(&piece[..read]);
                to_server.write_all(&piece[..read]).await?;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_the_password_is_not_told_it() -> anyhow::Result<()> {
    let bench = Bench::start(SCHEMA).await?;
    let password = bench.database.password("capture")?;
    for wants in [Wants::All, Wants::OfReplication] {
        let (port, heard) = impostor(&bench, wants).await?;
        let url = format!("postgres://capture@127.0.0.1:{port}/{SOURCE}");
        refused_with(&bench, Settings { url, ..bench.settings() }, "asks for the password itself").await?;
        let heard = heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let user = heard.windows(7).any(|word| word == b"capture");
        assert!(user, "nobody came");
        assert_eq!(heard.windows(11).any(|word| word == b"replication"), wants == Wants::OfReplication);
        assert!(!heard.windows(password.len()).any(|word| word == password.as_bytes()), "the password was told");
    }
    Ok(())
}
