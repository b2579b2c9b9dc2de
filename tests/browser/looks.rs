//! How pages look where they are not looked at on a large screen in colour: narrow, in the reader's own colours, on paper.

use super::{APPEARS_WITHIN, press, row_with};
use anyhow::{Context, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use fantoccini::{Client, Locator};
use proof::running::Running;
use serde_json::{Value, json};
use std::path::Path;

/// WCAG 2.2, 1.4.10: nothing is scrolled sideways at 320 CSS pixels, data tables in boxes of their own aside.
const NARROW_PIXELS: u32 = 320;
/// A page of each kind that a clinician sees, but for the record.
const PAGES: [&str; 7] = [
    "/inbox",
    "/inbox/hand-over",
    "/inbox?state=acknowledged",
    "/patients",
    // Nobody's, so that there is a glass to break.
    "/patients/0197f2a0-0000-7000-8000-0000000000ff",
    "/no-such-page",
    "/sign-in",
];

pub async fn narrow(browser: &Client, driver: &str, running: &Running) -> anyhow::Result<()> {
    narrow_window(browser, driver).await?;
    for page in pages(browser, running).await? {
        open(browser, running, &page).await?;
        fits(browser, &page).await?;
    }
    devtools(browser, driver, "Emulation.clearDeviceMetricsOverride", &json!({})).await?;
    Ok(())
}

/// The same of the one page that is not a clinician's. Whoever was signed in is not any more.
pub async fn narrow_status(browser: &Client, driver: &str, running: &Running) -> anyhow::Result<()> {
    narrow_window(browser, driver).await?;
    open(browser, running, "/sign-in").await?;
    browser.find(Locator::Id("user")).await?.send_keys("engineer").await?;
    browser.find(Locator::Id("password")).await?.send_keys(&running.passwords["engineer"]).await?;
    press(browser, "Sign in").await?;
    browser
        .wait()
        .at_most(APPEARS_WITHIN)
        .for_element(Locator::Id("quarantine-caption"))
        .await
        .context("the status")?;
    fits(browser, "/status").await
}

async fn narrow_window(browser: &Client, driver: &str) -> anyhow::Result<()> {
    let narrow = json!({"width": NARROW_PIXELS, "height": 800, "deviceScaleFactor": 1, "mobile": false});
    devtools(browser, driver, "Emulation.setDeviceMetricsOverride", &narrow).await?;
    Ok(())
}

async fn fits(browser: &Client, page: &str) -> anyhow::Result<()> {
    // What is folded too.
    let script = "document.querySelectorAll('details').forEach((it) => { it.open = true; });
        const root = document.documentElement;
        return [root.scrollWidth, root.clientWidth, window.innerWidth];";
    let widths: [u32; 3] = serde_json::from_value(browser.execute(script, vec![]).await?)?;
    ensure!(widths[2] == NARROW_PIXELS, "the window is {} pixels wide", widths[2]);
    ensure!(widths[0] <= widths[1], "{page} is {} pixels wide in a window of {}", widths[0], widths[1]);
    Ok(())
}

/// In the reader's own colours (Windows' high contrast), backgrounds and shadows are gone: what they said is still there,
/// in words and in borders.
pub async fn without_colours(browser: &Client, driver: &str, running: &Running) -> anyhow::Result<()> {
    let media = |value: &str| json!({"features": [{"name": "forced-colors", "value": value}]});
    devtools(browser, driver, "Emulation.setEmulatedMedia", &media("active")).await?;
    let script = include_str!("forced_colours.js");
    let mut looked_at = 0;
    for page in pages(browser, running).await? {
        open(browser, running, &page).await?;
        let told = browser.execute(script, vec![]).await?;
        ensure!(told["forced"] == json!(true), "the browser does not force colours");
        ensure!(told["wrong"] == json!([]), "{page}: {}", told["wrong"]);
        looked_at += told["looked_at"].as_u64().unwrap_or_default();
    }
    ensure!(looked_at > 10, "only {looked_at} states were looked at");
    devtools(browser, driver, "Emulation.setEmulatedMedia", &media("none")).await?;
    Ok(())
}

/// Each sheet says whose record it is, when it was read, and which page of how many: sheets get apart.
pub async fn printed(browser: &Client, driver: &str, running: &Running, folder: &Path) -> anyhow::Result<()> {
    open(browser, running, "/inbox?state=acknowledged").await?;
    row_with(browser, "6.7").await?.find(Locator::Css("h3 a")).await?.click().await?;
    browser.wait().at_most(APPEARS_WITHIN).for_element(Locator::Id("patient-name")).await?;
    let name = browser.find(Locator::Id("patient-name")).await?.text().await?;
    let number = "//dt[.='NHS number']/following-sibling::dd";
    let number = browser.find(Locator::XPath(number)).await?.text().await?;
    let number: String = number.chars().filter(char::is_ascii_digit).collect();
    let print = json!({"preferCSSPageSize": true, "paperWidth": 5.8, "paperHeight": 8.3});
    let pdf = devtools(browser, driver, "Page.printToPDF", &print).await?;
    let pdf = STANDARD.decode(pdf["data"].as_str().context("a document")?)?;
    let file = folder.join("record.pdf");
    std::fs::write(&file, pdf)?;
    let text = std::process::Command::new("pdftotext").arg("-layout").arg(&file).arg("-").output();
    let text = text.context("no pdftotext: the Debian package poppler-utils")?;
    let text = String::from_utf8(text.stdout)?;
    let sheets: Vec<&str> = text.split('\u{c}').filter(|sheet| !sheet.trim().is_empty()).collect();
    ensure!(sheets.len() > 1, "the record fits one sheet, so this shows nothing: {text}");
    for (at, sheet) in sheets.iter().enumerate() {
        // However its lines are broken.
        let sheet = sheet.split_whitespace().collect::<Vec<_>>().join(" ");
        let digits: String = sheet.chars().filter(char::is_ascii_digit).collect();
        ensure!(sheet.starts_with(&name) && digits.contains(&number), "sheet {at} does not say whose it is: {sheet}");
        ensure!(sheet.contains("Read ") && sheet.contains(" by Dr Tom Reid."), "sheet {at}: when, by whom? {sheet}");
        let page = format!("Page {} of {}", at + 1, sheets.len());
        ensure!(sheet.ends_with(&page), "sheet {at} does not say: {page}: {sheet}");
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(text.contains("Results with their provenance"), "what is folded is not printed");
    for furniture in ["Sign out", "Skip to main content"] {
        ensure!(!text.contains(furniture), "the page's own furniture is printed: {furniture}");
    }
    Ok(())
}

/// Those of [`PAGES`], and the record that the inbox's newest critical potassium leads to.
async fn pages(browser: &Client, running: &Running) -> anyhow::Result<Vec<String>> {
    // Acknowledged by then.
    open(browser, running, "/inbox?state=acknowledged").await?;
    let link = row_with(browser, "6.7").await?.find(Locator::Css("h3 a")).await?;
    let record = link.attr("href").await?.context("a link")?;
    Ok(PAGES.iter().map(|page| (*page).to_owned()).chain([record]).collect())
}

async fn open(browser: &Client, running: &Running, page: &str) -> anyhow::Result<()> {
    browser.goto(&format!("{}{page}", running.gateway)).await?;
    browser.wait().at_most(APPEARS_WITHIN).for_element(Locator::Css("main h1")).await?;
    Ok(())
}

/// What WebDriver has no command for.
async fn devtools(browser: &Client, driver: &str, command: &str, parameters: &Value) -> anyhow::Result<Value> {
    let session = browser.session_id().await?.context("a session")?;
    let address = format!("http://{driver}/session/{session}/goog/cdp/execute");
    let body = json!({"cmd": command, "params": parameters});
    let answer: Value = reqwest::Client::new().post(address).json(&body).send().await?.json().await?;
    ensure!(answer["value"].get("error").is_none(), "{command}: {}", answer["value"]);
    Ok(answer["value"].clone())
}
