//! Where an untrusted request may go.
//!
//! A playbook, a label or a pod status can name any address. Without a guard that would make the daemon a proxy into
//! every network it can reach, the cloud's metadata service first. So an untrusted name is resolved here and the
//! connection goes to the checked address only (no second look-up that could answer differently), some addresses are
//! never reachable, and all others only when `egress.allow` holds them.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::Url;

/// The networks that untrusted requests may reach. Empty: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// From `egress.allow`.
    pub allow: Vec<Cidr>,
}

/// A network such as `10.0.0.0/8` or `fd00::/8`; a bare address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// True when the network holds this address. An IPv4-mapped IPv6 address counts as its IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix);
                let head = |a: Ipv4Addr| a.to_bits().checked_shr(shift).unwrap_or(0);
                head(network) == head(address)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix);
                let head = |a: Ipv6Addr| a.to_bits().checked_shr(shift).unwrap_or(0);
                head(network) == head(address)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            let shown: String = text.chars().take(64).collect();
            format!("`{}` is not a network; write 10.0.0.0/8 or fd00::/8", shown.escape_debug())
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().map_err(|_| bad())?;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(p) if !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()) => {
                p.parse().ok().filter(|p| *p <= longest).ok_or_else(bad)?
            }
            Some(_) => return Err(bad()),
        };
        Ok(Self { network, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// Why an address is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(String);

impl Guard {
    /// Checks one address.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), Refused> {
        if let Some(what) = forbidden(address) {
            return Err(Refused(format!(
                "{address} is {what}, which no playbook, label or cluster object may reach"
            )));
        }
        if self.allow.iter().any(|network| network.contains(address)) {
            return Ok(());
        }
        Err(Refused(format!(
            "{address} is outside the allowed networks; add its network to `egress.allow` to permit it"
        )))
    }

    /// Checks the host of a URL as far as that is possible without a look-up; names are checked by [`Resolver`].
    pub(super) fn check_literal(&self, url: &Url) -> Result<(), Refused> {
        let host = url.host_str().ok_or_else(|| Refused("the address names no host".to_owned()))?;
        match host.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(address) => self.check(address),
            Err(_) => self.check_name(host),
        }
    }

    /// Checks a name before it is looked up: whatever it resolves to would be refused, so spare the look-up and its wait.
    pub(super) fn check_name(&self, host: &str) -> Result<(), Refused> {
        if self.allow.is_empty() {
            return Err(Refused(format!(
                "no network is allowed, so `{host}` is not looked up; add its network to `egress.allow`"
            )));
        }
        Ok(())
    }
}

/// What an address is, when it is one that is never reachable.
fn forbidden(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(v4) => forbidden_v4(v4),
        IpAddr::V6(v6) => forbidden_v6(v6),
    }
}

fn forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    // Azure's wire server, Alibaba's and Oracle's metadata services are outside 169.254.0.0/16.
    const METADATA: [Ipv4Addr; 4] = [
        Ipv4Addr::new(169, 254, 169, 254),
        Ipv4Addr::new(168, 63, 129, 16),
        Ipv4Addr::new(100, 100, 100, 200),
        Ipv4Addr::new(192, 0, 0, 192),
    ];
    if METADATA.contains(&address) {
        Some("a cloud metadata service")
    } else if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_link_local() {
        Some("a link-local address")
    } else if address.octets()[0] == 0 {
        Some("an unspecified address")
    } else if address.is_multicast() || address.is_broadcast() {
        Some("a multicast address")
    } else {
        None
    }
}

fn forbidden_v6(address: Ipv6Addr) -> Option<&'static str> {
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    if address == METADATA {
        Some("a cloud metadata service")
    } else if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_unspecified() {
        Some("an unspecified address")
    } else if address.is_unicast_link_local() {
        Some("a link-local address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else {
        embedded_v4(address).and_then(forbidden_v4)
    }
}

/// The IPv4 address a translator would connect to: NAT64 `64:ff9b::/96`, 6to4 `2002::/16`, IPv4-compatible `::/96`.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let parts = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match parts {
        [0x2002, high, low, ..] => Some(join(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0, high, low] => {
            Some(join(high, low))
        }
        _ => None,
    }
}

/// Resolves a name and hands on only the addresses the guard allows.
#[derive(Clone, Debug)]
pub(super) struct Resolver(pub(super) Guard);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let mut refused = None;
            let mut allowed = vec![];
            for address in found {
                match guard.check(address.ip()) {
                    Ok(()) => allowed.push(address),
                    Err(why) => refused = Some(why),
                }
            }
            match (allowed.is_empty(), refused) {
                (false, _) => Ok(Box::new(allowed.into_iter()) as Addrs),
                (true, Some(why)) => Err(why.into()),
                (true, None) => {
                    Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into())
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allow: &[&str]) -> Guard {
        Guard { allow: allow.iter().map(|c| c.parse().unwrap()).collect() }
    }

    #[test]
    fn a_network_holds_exactly_its_addresses() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("fd00::/8", "fdab::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::/0", "2001:db8::1", true),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
        ];
        for (network, address, holds) in cases {
            let network: Cidr = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), holds, "{network} {address}");
        }
    }

    #[test]
    fn nonsense_is_not_a_network() {
        for bad in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10/8",
            "::/129",
            "a\0",
            "10.0.0.0/8/8",
        ] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(65_536).parse::<Cidr>().unwrap_err().len() < 200);
    }

    #[test]
    fn some_addresses_are_never_reachable_whatever_is_allowed() {
        let open = guard(&["0.0.0.0/0", "::/0"]);
        for never in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "169.254.169.254",
            "169.254.0.7",
            "fe80::1",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
        ] {
            assert!(open.check(never.parse().unwrap()).is_err(), "{never}");
        }
        for fine in ["10.0.0.1", "203.0.113.9", "2001:db8::1"] {
            assert_eq!(open.check(fine.parse().unwrap()), Ok(()), "{fine}");
        }
    }

    #[test]
    fn an_empty_list_allows_nothing_and_the_refusal_names_the_setting() {
        let refused = guard(&[]).check("10.0.0.1".parse().unwrap()).unwrap_err();
        insta::assert_snapshot!(refused, @"10.0.0.1 is outside the allowed networks; add its network to `egress.allow` to permit it");
    }

    #[test]
    fn every_spelling_of_a_loopback_literal_is_caught() {
        let open = guard(&["0.0.0.0/0", "::/0"]);
        for url in
            ["http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://[::ffff:7f00:1]/"]
        {
            assert!(open.check_literal(&url.parse().unwrap()).is_err(), "{url}");
        }
    }
}
