//! Where a request came from, behind proxies that are trusted.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use serde::Deserialize;
use std::net::{IpAddr, Ipv6Addr};

/// Hops that a header may name.
const HOPS_MAX: usize = 32;
/// What one site or household has of IPv6: counted as one address.
const IPV6_SITE_BITS: u8 = 64;

/// An address or a network: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no address and no network, as 10.0.0.0/8");
        let (address, bits) =
            text.split_once('/').map_or((text.as_str(), None), |(address, bits)| (address, Some(bits)));
        let address = plain(address.trim().parse().map_err(|_| wrong())?);
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.trim().parse::<u8>()).map_err(|_| wrong())?;
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl Network {
    fn has(self, address: IpAddr) -> bool {
        let (mine, other) = match (self.address, address) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => {
                (u128::from(mine.to_bits()) << 96, u128::from(other.to_bits()) << 96)
            }
            (IpAddr::V6(mine), IpAddr::V6(other)) => (mine.to_bits(), other.to_bits()),
            _ => return false,
        };
        self.bits == 0 || (mine ^ other) >> (128 - u32::from(self.bits)) == 0
    }
}

/// IPv4 in IPv6 is the same machine.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The client's address: the peer, or where it is a trusted proxy the last address of `X-Forwarded-For` that no trusted
/// proxy put there itself. What stands before that was written by the client.
pub fn client(peer: IpAddr, forwarded: &[&str], trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.has(address));
    let mut client = plain(peer);
    let hops = forwarded.iter().rev().flat_map(|line| line.rsplit(','));
    for hop in hops.take(HOPS_MAX) {
        if !is_trusted(client) {
            break;
        }
        let Some(address) = parse(hop) else { break };
        client = plain(address);
    }
    client
}

/// Whether a trusted proxy says that it was reached over TLS. Its own word stands last in `X-Forwarded-Proto`.
pub fn over_tls(peer: IpAddr, said: &[&str], trusted: &[Network]) -> bool {
    let last = said.last().and_then(|line| line.rsplit(',').next());
    trusted.iter().any(|network| network.has(plain(peer))) && last.is_some_and(|last| last.trim() == "https")
}

/// `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::7`, `[2001:db8::7]:4711`.
fn parse(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop.parse().ok();
    bare.or_else(|| hop.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| hop.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6))
}

/// What attempts are counted by.
pub fn site(address: IpAddr) -> String {
    match plain(address) {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            Ipv6Addr::from_bits(v6.to_bits() >> (128 - IPV6_SITE_BITS) << (128 - IPV6_SITE_BITS)).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| Network::try_from((*text).to_owned()).expect("a network")).collect()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        for (peer, forwarded, trusted, want) in [
            ("192.0.2.1", vec!["198.51.100.9"], vec![], "192.0.2.1"),
            ("192.0.2.1", vec!["198.51.100.9"], vec!["10.0.0.0/8"], "192.0.2.1"),
            ("10.1.2.3", vec!["198.51.100.9"], vec!["10.0.0.0/8"], "198.51.100.9"),
            ("10.1.2.3", vec![], vec!["10.0.0.0/8"], "10.1.2.3"),
            // What the client wrote itself stands first.
            ("10.1.2.3", vec!["203.0.113.5, 198.51.100.9"], vec!["10.0.0.0/8"], "198.51.100.9"),
            ("10.1.2.3", vec!["203.0.113.5", "198.51.100.9, 10.9.9.9"], vec!["10.0.0.0/8"], "198.51.100.9"),
            ("10.1.2.3", vec!["198.51.100.9:4711"], vec!["10.1.2.3"], "198.51.100.9"),
            ("10.1.2.3", vec!["unknown"], vec!["10.1.2.3"], "10.1.2.3"),
            ("::ffff:10.1.2.3", vec!["[2001:db8::7]:80"], vec!["10.0.0.0/8"], "2001:db8::7"),
            ("fd00::1", vec!["2001:db8::7"], vec!["fd00::/8"], "2001:db8::7"),
            ("fe00::1", vec!["2001:db8::7"], vec!["fd00::/8"], "fe00::1"),
            ("192.0.2.1", vec!["198.51.100.9"], vec!["0.0.0.0/0"], "198.51.100.9"),
        ] {
            let (peer, want): (IpAddr, IpAddr) = (peer.parse().expect("an address"), want.parse().expect("an address"));
            assert_eq!(client(peer, &forwarded, &networks(&trusted)), want, "{peer} {forwarded:?} {trusted:?}");
        }
    }

    #[test]
    fn only_trusted_proxies_say_that_it_was_tls() {
        for (peer, said, want) in [
            ("10.1.2.3", vec!["https"], true),
            ("::ffff:10.1.2.3", vec!["http", "http, https"], true),
            ("10.1.2.3", vec!["https, http"], false),
            ("10.1.2.3", vec![], false),
            // What a client writes itself.
            ("192.0.2.1", vec!["https"], false),
        ] {
            let peer: IpAddr = peer.parse().expect("an address");
            assert_eq!(over_tls(peer, &said, &networks(&["10.0.0.0/8"])), want, "{peer} {said:?}");
        }
    }

    #[test]
    fn networks_are_read_and_mistakes_are_named() {
        for wrong in ["", "10.0.0.0/33", "fd00::/129", "10.0.0.0/x", "host", "10.0.0.0/-1"] {
            assert!(Network::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
        assert_eq!(site("2001:db8:1:2:3:4:5:6".parse().expect("an address")), "2001:db8:1:2::");
        assert_eq!(site("::ffff:192.0.2.7".parse().expect("an address")), "192.0.2.7");
    }
}
