//! What a clinician sees and does, in a real browser: sign in, a live alert, the record, acknowledging; and the same
//! without JavaScript.

mod looks;

use anyhow::{Context, ensure};
use fantoccini::{Client, ClientBuilder, Locator, elements::Element};
use jiff::{SignedDuration, Timestamp};
use proof::running::{Histories, Running};
use region::story;
use serde_json::{Map, json};
use stack::{
    Lifetime, Part, Proxy, Ready, Spec,
    proxy::{Flow, Link},
};
use std::{path::Path, time::Duration};

/// Where pictures of the pages go, if anywhere.
const SCREENSHOTS_VARIABLE: &str = "CAUSEWAY_SCREENSHOTS";
const APPEARS_WITHIN: Duration = Duration::from_secs(20);
const USER: &str = "ed.stmarys";
/// A browser opens six connections to one server.
const TABS: usize = 8;
/// Two heartbeats and a half, and what a busy machine takes.
const FROZEN_TOLD_WITHIN: Duration = Duration::from_secs(50);

/// One region and one browser for the whole story: each step needs the one before.
#[tokio::test(flavor = "multi_thread")]
async fn a_clinician_is_told_reads_and_acknowledges() -> anyhow::Result<()> {
    let folder = stack::local().join("tests").join("browser");
    let mut running = Running::prepare(&folder, &Histories { seed: 5, people: 40 }, |_| {}).await?;
    running.launch()?;
    running.wait_live(|_, _| {}).await?;
    let mut driver = chromedriver(&folder).await?;
    let address = driver.address.clone();
    let done = tokio::time::timeout(Duration::from_secs(360), visits(&running, &address, &folder)).await;
    driver.part.stop().await?;
    running.stop().await?;
    done.context("the browser did not come to an end")?
}

async fn visits(running: &Running, driver: &str, folder: &Path) -> anyhow::Result<()> {
    let hospital = running.source("stmarys").await?;
    let gp = running.source("riverside").await?;
    let (now, day) = (Timestamp::now(), SignedDuration::from_hours(24));
    story::monday_bloods(&gp, now - day, now - day + SignedDuration::from_hours(6)).await?;
    story::tuesday_endocrinology(&hospital, now - SignedDuration::from_hours(9), now - SignedDuration::from_hours(7))
        .await?;
    let encounter = story::ae_attendance(&hospital, now).await?;

    let browser = open(driver, &folder.join("chromium"), true).await?;
    sign_in(&browser, running, &running.gateway).await?;
    is_well_made(&browser).await?;
    live_alert(&browser, &hospital, encounter).await?;
    picture(&browser, "inbox").await?;
    record(&browser).await?;
    picture(&browser, "record").await?;
    acknowledge(&browser, running).await?;
    looks::narrow(&browser, driver, running).await?;
    looks::without_colours(&browser, driver, running).await?;
    looks::printed(&browser, driver, running, folder).await?;
    looks::narrow_status(&browser, driver, running).await?;
    browser.close().await?;

    // Another specimen, and another matter.
    let now = Timestamp::now();
    story::crisis_result(&hospital, encounter, now - SignedDuration::from_mins(2), now).await?;
    let plain = open(driver, &folder.join("chromium-plain"), false).await?;
    sign_in(&plain, running, &running.gateway).await?;
    row_with(&plain, "6.7").await?;
    press(&plain, "Mark as seen").await?;
    // The form's answer is the inbox again; a page asked for before would take its place.
    let taken = Locator::XPath("//li[contains(., '6.7')]//span[starts-with(., 'You saw it')]");
    plain.wait().at_most(APPEARS_WITHIN).for_element(taken).await.context("not marked as seen")?;
    plain.goto(&format!("{}/inbox?state=acknowledged", running.gateway)).await?;
    let first = row_with(&plain, "6.7").await?;
    ensure!(first.text().await?.contains("Acknowledged"), "without JavaScript the state is not told");
    plain.close().await?;
    a_frozen_connection_is_told(running, driver, folder).await
}

/// More tabs than a browser opens connections to one server over HTTP/1.1; and a link on which nothing arrives any more.
async fn a_frozen_connection_is_told(running: &Running, driver: &str, folder: &Path) -> anyhow::Result<()> {
    let proxy = Proxy::start(0, running.gateway.trim_start_matches("http://")).await?;
    let base = format!("http://{}", proxy.address());
    let browser = open(driver, &folder.join("chromium-proxy"), true).await?;
    sign_in(&browser, running, &base).await?;
    for tab in 1..=TABS {
        let listening = browser.wait().at_most(APPEARS_WITHIN).for_element(Locator::Css("#connection.on")).await;
        listening.with_context(|| format!("tab {tab} is not live"))?;
        if tab < TABS {
            let window = browser.new_window(true).await?;
            browser.switch_to_window(window.handle).await?;
            browser.goto(&format!("{base}/inbox")).await?;
        }
    }
    proxy.set(Link::flowing(Flow::Held));
    let off = Locator::Css("#connection.off");
    let told = browser.wait().at_most(FROZEN_TOLD_WITHIN).for_element(off).await.context("a frozen link looks live")?;
    let words = told.text().await?;
    ensure!(words.contains("Not live since"), "a frozen link is told as: {words}");
    proxy.heal();
    browser
        .wait()
        .at_most(FROZEN_TOLD_WITHIN)
        .for_element(Locator::Css("#connection.on"))
        .await
        .context("live again")?;
    browser.close().await?;
    Ok(())
}

/// A result that is committed while the inbox is open stands there without a reload.
async fn live_alert(browser: &Client, hospital: &tokio_postgres::Client, encounter: i64) -> anyhow::Result<()> {
    let listening = Locator::Css("#connection.on");
    browser.wait().at_most(APPEARS_WITHIN).for_element(listening).await.context("the inbox is not live")?;
    let now = Timestamp::now();
    story::crisis_result(hospital, encounter, now - SignedDuration::from_mins(20), now).await?;
    // Whichever of its results is named first, the others stand beside it.
    let text = card_text(browser, "6.7").await?.to_lowercase();
    ensure!(text.contains("potassium 6.7") && text.contains("mmol/l"), "the row does not say what was found: {text}");
    Ok(())
}

/// The alert's patient: steroid dependence first, allergies and medicines of both clinics, results side by side.
async fn record(browser: &Client) -> anyhow::Result<()> {
    card_text(browser, "6.7").await?;
    row_with(browser, "6.7").await?.find(Locator::Css("h3 a")).await?.click().await?;
    browser.wait().at_most(APPEARS_WITHIN).for_element(Locator::Css("h1")).await?;
    is_well_made(browser).await?;
    let text = browser.find(Locator::Css("main")).await?.text().await?;
    let at = |word: &str| {
        text.to_lowercase().find(&word.to_lowercase()).with_context(|| format!("the record does not say {word}"))
    };
    let steroid = at("steroid")?;
    for word in ["penicillin", "hydrocortisone", "fludrocortisone", "Potassium", "Sodium"] {
        ensure!(steroid < at(word)?, "{word} stands before the steroid dependence");
    }
    Ok(())
}

async fn acknowledge(browser: &Client, running: &Running) -> anyhow::Result<()> {
    browser.goto(&format!("{}/inbox", running.gateway)).await?;
    let row = row_with(browser, "6.7").await?;
    let id = row.attr("id").await?.context("a row without an id")?;
    let button = format!("#acknowledge-{}", id.trim_start_matches("matter-"));
    browser.find(Locator::Css(&button)).await?.click().await?;
    // Acknowledged alerts leave the open ones.
    wait_gone(browser, &button).await?;
    browser.goto(&format!("{}/inbox?state=acknowledged", running.gateway)).await?;
    let row = row_with(browser, "6.7").await?;
    let text = row.text().await?;
    ensure!(text.contains("Acted on by Dr Tom Reid, St Mary's Emergency Department"), "{text}");
    ensure!(!text.contains(USER), "a login is shown: {text}");
    let own = running.own().await?;
    let by: String = own
        .query_one("select distinct acknowledged_by from alert.alert where state = 'acknowledged'", &[])
        .await?
        .get(0);
    ensure!(by == USER, "acknowledged by somebody else");
    Ok(())
}

/// The text of the card with `value`; it is put in anew with each of its findings.
async fn card_text(browser: &Client, value: &str) -> anyhow::Result<String> {
    let until = tokio::time::Instant::now() + APPEARS_WITHIN;
    loop {
        match row_with(browser, value).await?.text().await {
            Ok(text) => return Ok(text),
            Err(error) => ensure!(tokio::time::Instant::now() < until, "the card does not stand still: {error}"),
        }
    }
}

/// The newest row whose text holds `value`; waits for it.
async fn row_with(browser: &Client, value: &str) -> anyhow::Result<Element> {
    let path = format!("//ol[@id='alerts']/li[contains(., '{value}')]");
    if !browser.current_url().await?.path().starts_with("/inbox") {
        let inbox = browser.current_url().await?.join("/inbox")?;
        browser.goto(inbox.as_str()).await?;
    }
    browser
        .wait()
        .at_most(APPEARS_WITHIN)
        .for_element(Locator::XPath(&path))
        .await
        .with_context(|| format!("no alert with {value}"))
}

async fn wait_gone(browser: &Client, css: &str) -> anyhow::Result<()> {
    let until = tokio::time::Instant::now() + APPEARS_WITHIN;
    while !browser.find_all(Locator::Css(css)).await?.is_empty() {
        ensure!(tokio::time::Instant::now() < until, "{css} is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn press(browser: &Client, words: &str) -> anyhow::Result<()> {
    let path = format!("//button[starts-with(normalize-space(.), '{words}')]");
    let buttons = browser.find_all(Locator::XPath(&path)).await?;
    let button = buttons.into_iter().next().with_context(|| format!("no button says {words}"))?;
    Ok(button.click().await?)
}

async fn sign_in(browser: &Client, running: &Running, base: &str) -> anyhow::Result<()> {
    browser.goto(&format!("{base}/sign-in")).await?;
    is_well_made(browser).await?;
    browser.find(Locator::Id("user")).await?.send_keys(USER).await?;
    browser.find(Locator::Id("password")).await?.send_keys(&running.passwords[USER]).await?;
    // Enter in a field sends the form: no mouse is needed.
    browser.find(Locator::Id("password")).await?.send_keys("\u{E007}").await?;
    browser.wait().at_most(APPEARS_WITHIN).for_element(Locator::Id("alerts-caption")).await.context("not signed in")?;
    Ok(())
}

/// What WCAG 2.2 asks of every page and a script can tell: language (3.1.1), title (2.4.2), one first heading and landmarks
/// (1.3.1), a way past the navigation (2.4.1), names of fields and buttons (4.1.2), captions and scopes of tables (1.3.1).
async fn is_well_made(browser: &Client) -> anyhow::Result<()> {
    let wrong: Vec<String> = {
        let found = [
            ("no language", "//html[not(@lang)]"),
            ("no title", "//head[not(normalize-space(title))]"),
            ("not one h1", "//body[count(//h1) != 1]"),
            ("not one main", "//body[count(//main) != 1]"),
            ("no skip link first", "//body[not(*[1][self::a][@href='#main'])]"),
            (
                "a field without a label",
                "//*[self::input[not(@type='hidden')] or self::select][not(@id = //label/@for)]",
            ),
            ("a button without words", "//button[not(normalize-space(.)) and not(@aria-label)]"),
            ("a link without words", "//a[@href][not(normalize-space(.)) and not(@aria-label)]"),
            ("a table without a caption", "//table[not(caption)]"),
            ("a heading cell without a scope", "//th[not(@scope)]"),
            ("an image without a text", "//img[not(@alt)]"),
        ];
        let mut wrong = Vec::new();
        for (what, path) in found {
            if !browser.find_all(Locator::XPath(path)).await?.is_empty() {
                wrong.push(what.to_owned());
            }
        }
        wrong
    };
    ensure!(wrong.is_empty(), "{}: {}", browser.current_url().await?.path(), wrong.join(", "));
    Ok(())
}

async fn picture(browser: &Client, name: &str) -> anyhow::Result<()> {
    let Some(folder) = std::env::var_os(SCREENSHOTS_VARIABLE) else { return Ok(()) };
    std::fs::write(Path::new(&folder).join(format!("{name}.png")), browser.screenshot().await?)?;
    Ok(())
}

struct Driver {
    part: Part,
    address: String,
}

async fn chromedriver(folder: &Path) -> anyhow::Result<Driver> {
    let address = format!("127.0.0.1:{}", stack::free_port()?);
    let port = address.rsplit(':').next().unwrap_or_default();
    let spec = Spec::new("chromedriver", folder.join("chromedriver.log"), Lifetime::WithParent)
        .arguments([format!("--port={port}"), "--allowed-ips=127.0.0.1".to_owned()]);
    let ready = Ready::Log { text: "was started successfully", address: address.clone() };
    let mut part = Part::new("chromedriver", spec, ready);
    part.start().await.context("no chromedriver: the Debian package chromium-driver")?;
    Ok(Driver { part, address })
}

/// A browser with a profile of its own that asks nobody but us.
async fn open(driver: &str, profile: &Path, scripts: bool) -> anyhow::Result<Client> {
    let arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--window-size=1280,1600",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
    ];
    let profile = format!("--user-data-dir={}", profile.display());
    let arguments: Vec<&str> = arguments.into_iter().chain([profile.as_str()]).collect();
    // 2: blocked.
    let scripts = if scripts { 1 } else { 2 };
    let options =
        json!({ "args": arguments, "prefs": { "profile.managed_default_content_settings.javascript": scripts } });
    let mut capabilities = Map::new();
    capabilities.insert("goog:chromeOptions".to_owned(), options);
    let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
    builder.capabilities(capabilities);
    builder.connect(&format!("http://{driver}")).await.context("no browser: the Debian package chromium")
}
