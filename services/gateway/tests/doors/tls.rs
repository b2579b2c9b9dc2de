//! The gateway over TLS, with a real client: whose certificate it is, and what is said to browsers.

use super::{DAVID, Doors, PATIENCE};
use anyhow::{Context, ensure};
use gateway::server::Tls;
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Certificate, Client, StatusCode, redirect::Policy};
use std::path::Path;
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream};

/// A certificate authority of its own.
fn authority(name: &str) -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn believes(authority: &CertifiedIssuer<'static, KeyPair>) -> anyhow::Result<Client> {
    let root = Certificate::from_pem(authority.pem().as_bytes())?;
    Ok(Client::builder().tls_certs_only([root]).redirect(Policy::none()).timeout(PATIENCE).build()?)
}

pub async fn only_its_authority_is_believed(doors: &Doors<'_>, folder: &Path) -> anyhow::Result<()> {
    let (ours, theirs) = (authority("ours")?, authority("theirs")?);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &ours)?;
    let tls = Tls { certificate_file: folder.join("gateway.pem"), key_file: folder.join("gateway-key.pem") };
    std::fs::write(&tls.certificate_file, certificate.pem())?;
    std::fs::write(&tls.key_file, key.serialize_pem())?;
    mistakes_are_named(&tls, folder)?;
    let settings = gateway::Settings { tls: Some(tls), ..gateway::Settings::default() };
    let address = doors.region.gateway(settings, "127.0.0.1:0".parse()?).await?;
    let base = format!("https://localhost:{}", address.port());

    let client = believes(&ours)?;
    let form = client.get(format!("{base}/sign-in")).send().await?;
    ensure!(form.status() == StatusCode::OK, "{}", form.status());
    ensure!(form.headers().get("strict-transport-security").is_some_and(|told| told == "max-age=31536000"));
    let cookie = sign_in(doors, &client, &base, &[]).await?;
    ensure!(cookie.ends_with("; Secure"), "{cookie}");
    let session = cookie.split(';').next().context("a session")?;
    let record = client.get(format!("{base}/patients/{DAVID}")).header("cookie", session).send().await?;
    ensure!(record.status() == StatusCode::OK && record.text().await?.contains("ELLIS"), "the record over TLS");
    // What a FHIR client is told to ask next is TLS too.
    let observations = client.get(format!("{base}/fhir/Observation?patient={DAVID}&_count=2"));
    let bundle: serde_json::Value = observations.header("cookie", session).send().await?.json().await?;
    ensure!(bundle["link"][1]["url"].as_str().is_some_and(|next| next.starts_with(&base)), "{}", bundle["link"]);

    let refused = believes(&theirs)?.get(format!("{base}/sign-in")).send().await;
    ensure!(refused.is_err_and(|error| error.is_connect()), "another authority's client goes on");
    // Who speaks no TLS gets not one byte of HTTP.
    let mut plain = TcpStream::connect(address).await?;
    plain.write_all(b"GET /sign-in HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, plain.read_to_end(&mut answer)).await.context("it is kept waiting")?.ok();
    ensure!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// The setting and the file, and what is wrong with it.
fn mistakes_are_named(good: &Tls, folder: &Path) -> anyhow::Result<()> {
    good.load()?;
    let (none, words, other) = (folder.join("none.pem"), folder.join("words.pem"), folder.join("other.pem"));
    std::fs::write(&words, "not a certificate")?;
    std::fs::write(&other, KeyPair::generate()?.serialize_pem())?;
    let with = |certificate: &Path, key: &Path| Tls { certificate_file: certificate.into(), key_file: key.into() };
    for (tls, key, what) in [
        (with(&none, &good.key_file), "gateway.tls.certificate_file", "cannot be read"),
        (with(&words, &good.key_file), "gateway.tls.certificate_file", "holds no certificate"),
        (with(&good.certificate_file, &none), "gateway.tls.key_file", "cannot be read"),
        (with(&good.certificate_file, &words), "gateway.tls.key_file", "is not PEM"),
        (with(&good.certificate_file, &other), "gateway.tls.key_file", "does not go with the certificate"),
    ] {
        let told = tls.load().err().context("it is taken")?.to_string();
        ensure!(told.starts_with(key) && told.contains(what), "{told}");
    }
    Ok(())
}

/// The cookie that a browser gets.
async fn sign_in(doors: &Doors<'_>, client: &Client, base: &str, headers: &[(&str, &str)]) -> anyhow::Result<String> {
    let form = format!("user=ed.stmarys&password={}", doors.region.passwords["ed.stmarys"].replace(' ', "+"));
    let mut request = client.post(format!("{base}/sign-in"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.header("content-type", "application/x-www-form-urlencoded").body(form).send().await?;
    ensure!(answer.status() == StatusCode::SEE_OTHER, "{}", answer.status());
    Ok(answer.headers().get("set-cookie").context("a cookie")?.to_str()?.to_owned())
}

pub async fn a_trusted_proxy_may_say_that_it_was_tls(doors: &Doors<'_>) -> anyhow::Result<()> {
    let trusted_proxies = vec!["127.0.0.1".to_owned().try_into().map_err(anyhow::Error::msg)?];
    let settings = gateway::Settings { trusted_proxies, ..gateway::Settings::default() };
    let behind = format!("http://{}", doors.region.gateway(settings, "127.0.0.1:0".parse()?).await?);
    let client = Client::builder().redirect(Policy::none()).build()?;
    for (base, said, secure) in [
        (&behind, "https", true),
        (&behind, "http", false),
        // Nobody's word is taken here.
        (&doors.region.url, "https", false),
    ] {
        let headers = [("x-forwarded-proto", said), ("x-forwarded-for", "192.0.2.7")];
        let cookie = sign_in(doors, &client, base, &headers).await?;
        ensure!(cookie.ends_with("; Secure") == secure, "{said}: {cookie}");
        let form = client.get(format!("{base}/sign-in")).header("x-forwarded-proto", said).send().await?;
        ensure!(form.headers().contains_key("strict-transport-security") == secure, "{said}");
    }
    Ok(())
}
