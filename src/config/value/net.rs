//! Addresses: where to listen, what to call, which networks may be reached.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use super::{shown, text_value};

/// `127.0.0.1:9095`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(SocketAddr);

impl Listen {
    /// This port of 127.0.0.1.
    pub const fn loopback(port: u16) -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    /// The socket address; port 0 means any.
    pub const fn get(self) -> SocketAddr {
        self.0
    }

    /// True when only this machine can connect.
    pub fn is_loopback(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        numeric.as_deref().unwrap_or(text).parse().map(Self).map_err(|_| {
            format!(
                "`{}` is not an address to listen on; write 127.0.0.1:9095, or 0.0.0.0:9095 for all interfaces",
                shown(text)
            )
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An `http` or `https` address without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(reqwest::Url);

impl Url {
    /// The parsed address.
    pub fn get(&self) -> &reqwest::Url {
        &self.0
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // What was written is not repeated: it may hold a password.
        let url = reqwest::Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or("this is not an http or https address; write https://host:port/path")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "an address must not hold a user or a password; use the section's own keys"
                    .to_owned(),
            );
        }
        Ok(Self(url))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.as_str().trim_end_matches('/'))
    }
}

/// `hms:9083`: a name or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort(String);

impl HostPort {
    /// The text, `host:port`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| {
            b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'[' | b']' | b':')
        };
        let fits = text.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && host.bytes().all(plain) && port.parse::<u16>().is_ok_and(|p| p > 0)
        });
        if fits && text.len() <= 260 {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{}` is not a host and a port; write hms.data.svc:9083", shown(text)))
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// `10.0.0.0/8` or `fd00::/8`; a bare address is a network of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network(String);

impl Network {
    /// The text, checked.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let fits = address.parse::<IpAddr>().is_ok_and(|address| {
            let longest: u8 = if address.is_ipv4() { 32 } else { 128 };
            prefix.is_none_or(|p| {
                p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u8>().is_ok_and(|p| p <= longest)
            })
        });
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{}` is not a network; write 10.0.0.0/8 or fd00::/8", shown(text)))
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

text_value!(Listen, "listen address", "127.0.0.1:9095");
text_value!(Url, "URL", "https://host:port/path");
text_value!(HostPort, "host and port", "hms:9083");
text_value!(Network, "network", "10.0.0.0/8");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_reaches_a_loopback_address() {
        for near in ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.9.9.9:1", "[::ffff:127.0.0.1]:1"]
        {
            assert!(near.parse::<Listen>().unwrap().is_loopback(), "{near}");
        }
        for far in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
            assert!(!far.parse::<Listen>().unwrap().is_loopback(), "{far}");
        }
        for bad in ["", ":9095", "9095", "localhost", "example.org:80", "127.0.0.1:99999", "\0"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_url_with_a_password_is_refused_without_repeating_it() {
        let error = "https://u:hunter2@host/".parse::<Url>().unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        for bad in ["", "host:80", "ftp://host", "file:///etc/passwd", "http://", "\0"] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
        assert_eq!("http://prom:9090".parse::<Url>().unwrap().to_string(), "http://prom:9090");
    }

    #[test]
    fn hosts_and_networks_are_checked() {
        assert!("hms:9083".parse::<HostPort>().is_ok());
        for bad in ["", "hms", "hms:0", ":9083", "hms:99999", "a b:1", "h/x:1", "\0:1"] {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
        for good in ["10.0.0.0/8", "fd00::/8", "10.1.2.3"] {
            assert!(good.parse::<Network>().is_ok(), "{good}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0.0/", "10.0/8", "x/8", "10.0.0.0/+8"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
