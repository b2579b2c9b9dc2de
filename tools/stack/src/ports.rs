//! Free loopback ports.

use anyhow::{Context, bail};
use std::{
    collections::BTreeSet,
    io::Read,
    net::{Ipv4Addr, TcpListener},
    sync::Mutex,
};

/// Below Linux's range for outgoing connections, so that a port stays ours while its server is down.
const PORTS: std::ops::Range<u16> = 15_000..32_000;
const TRIES_MAX: usize = 1_000;

static HANDED_OUT: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port nobody listens on, handed out once per process. Chosen at random, so that two test runs
/// side by side do not meet.
pub fn free_port() -> anyhow::Result<u16> {
    let mut handed_out = HANDED_OUT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for _ in 0..TRIES_MAX {
        let mut random = [0; 2];
        random_bytes(&mut random)?;
        let port = PORTS.start + u16::from_le_bytes(random) % (PORTS.end - PORTS.start);
        if !handed_out.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            handed_out.insert(port);
            return Ok(port);
        }
    }
    bail!("no free port between {} and {}", PORTS.start, PORTS.end)
}

pub fn random_bytes(buffer: &mut [u8]) -> anyhow::Result<()> {
    let mut source = std::fs::File::open("/dev/urandom").context("cannot open /dev/urandom")?;
    source.read_exact(buffer).context("cannot read /dev/urandom")
}

/// A password: 192 random bits in hexadecimal, so that it needs no escaping in a URL.
pub fn random_password() -> anyhow::Result<String> {
    let mut bytes = [0; 24];
    random_bytes(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn ports_differ() {
        let ports: std::collections::BTreeSet<u16> = (0..20).map(|_| super::free_port().unwrap()).collect();
        assert_eq!(ports.len(), 20);
    }
}
