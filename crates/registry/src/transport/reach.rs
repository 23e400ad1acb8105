//! The classes of addresses, and the classes that a server may lead to.
//!
//! A server that the user named may be anywhere. It may lead to servers in the same class and
//! further out, never further in: a server of the internet not into a private network, and a server
//! of a private network not to this machine. Each server on the way narrows what the next may do.
//!
//! **Source** — the IANA registries of special-purpose addresses for IPv4 and IPv6 (RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// Where an address leads, from the outermost class to the innermost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// The internet.
    Public,
    /// A private network.
    Private,
    /// This machine.
    Loopback,
    /// Link-local, where clouds serve the credentials of a machine, and what is no address of a
    /// server: unspecified, multicast, broadcast, reserved.
    Special,
}

impl Class {
    /// Returns the class of an address.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    /// Returns the class of a URL's host as it is written; `None` for a name that has to be looked
    /// up.
    pub(crate) fn of_host(url: &Url) -> Option<Self> {
        let host = url.host_str()?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse() {
            return Some(Self::of(address));
        }
        // RFC 6761 § 6.3: such names are this machine, whatever a server of names says.
        let name = bare.trim_end_matches('.').to_ascii_lowercase();
        (name == "localhost" || name.ends_with(".localhost")).then_some(Self::Loopback)
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [a, b, c, _] = address.octets();
        match (a, b, c) {
            (127, ..) => Self::Loopback,
            (10, ..) | (172, 16..=31, _) | (192, 168, _) => Self::Private,
            // Carriers' networks, and networks for measurements.
            (100, 64..=127, _) | (198, 18..=19, _) => Self::Private,
            (0 | 224.., ..) | (169, 254, _) | (192, 0, 0) => Self::Special,
            // Azure's server for the machine itself.
            _ if address == Ipv4Addr::new(168, 63, 129, 16) => Self::Special,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let s = address.segments();
        let v4 = |high: u16, low: u16| {
            Self::of_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
        };
        let last = v4(s[6], s[7]);
        match s {
            [0, 0, 0, 0, 0, 0, 0, 0] => Self::Special,
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            // Addresses that stand for an IPv4 address: mapped, compatible, translated, NAT64.
            [0, 0, 0, 0, 0, 0 | 0xffff, ..]
            | [0, 0, 0, 0, 0xffff, 0, ..]
            | [0x64, 0xff9b, 0, 0, 0, 0, ..] => last,
            [0x64, 0xff9b, 1, ..] => last.max(Self::Private),
            // 6to4 and Teredo.
            [0x2002, high, low, ..] => v4(high, low),
            [0x2001, 0, ..] => v4(!s[6], !s[7]),
            [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Self::Private,
            [0xfe80..=0xfebf, ..] | [0xff00..=0xffff, ..] | [0x100, 0, 0, 0, ..] => Self::Special,
            // ISATAP.
            [_, _, _, _, 0 | 0x200, 0x5efe, ..] => last,
            // Only this range is given to networks of the internet.
            [0x2000..=0x3fff, ..] => Self::Public,
            _ => Self::Special,
        }
    }

    /// Returns words for a message.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Public => "a public address",
            Self::Private => "an address of a private network",
            Self::Loopback => "this machine",
            Self::Special => "a link-local or special address",
        }
    }
}

/// The addresses that a request may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reach {
    /// All: the user named the server.
    Any,
    /// Those that a server of this class may lead to.
    From(Class),
}

impl Reach {
    /// Returns whether a request may go to an address of that class.
    pub(crate) fn allows(self, class: Class) -> bool {
        match self {
            Self::Any => true,
            Self::From(Class::Special) => class != Class::Loopback,
            Self::From(from) => class <= from,
        }
    }

    /// Returns what remains after a server of that class has answered.
    pub(crate) fn narrowed(self, class: Class) -> Self {
        match self {
            Self::Any => Self::From(class),
            Self::From(from) => Self::From(from.min(class)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_one_class() {
        for (class, addresses) in [
            (
                Class::Public,
                "1.1.1.1 172.15.0.1 172.32.0.1 192.169.0.1 100.63.0.1 100.128.0.1 \
                 2606:4700::1111 ::ffff:1.1.1.1 64:ff9b::101:101 2002:101:101::1",
            ),
            (
                Class::Private,
                "10.0.0.7 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 \
                 100.100.100.200 198.18.0.1 fc00::1 fd00:ec2::254 fec0::1 ::ffff:10.0.0.7 \
                 64:ff9b::a00:7 64:ff9b:1::101:101 2002:a00:7::1 ::10.0.0.7 2001:db9::5efe:a00:7 \
                 2001:0:1::f5ff:fff8 ::ffff:0:a00:7",
            ),
            (
                Class::Loopback,
                "127.0.0.1 127.255.255.254 ::1 ::ffff:127.0.0.1 64:ff9b::7f00:1 \
                 2002:7f00:1:: 64:ff9b:1::7f00:1",
            ),
            (
                Class::Special,
                "0.0.0.0 0.1.2.3 169.254.169.254 224.0.0.1 240.0.0.1 \
                 255.255.255.255 192.0.0.192 168.63.129.16 :: fe80::1 ff02::1 100::1 \
                 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe ::ffff:0.0.0.0 4000::1",
            ),
        ] {
            for text in addresses.split_whitespace() {
                assert_eq!(Class::of(text.parse().unwrap()), class, "{text}");
            }
        }
    }

    #[test]
    fn hosts_are_read_as_they_are_connected_to() {
        for (host, class) in [
            ("127.0.0.1", Some(Class::Loopback)),
            ("127.0.0.1.", Some(Class::Loopback)),
            ("0x7f.1", Some(Class::Loopback)),
            ("2130706433", Some(Class::Loopback)),
            ("017700000001", Some(Class::Loopback)),
            ("[::ffff:7f00:1]", Some(Class::Loopback)),
            ("localhost", Some(Class::Loopback)),
            ("LOCALHOST.", Some(Class::Loopback)),
            ("a.localhost", Some(Class::Loopback)),
            ("0", Some(Class::Special)),
            ("[fe80::1]", Some(Class::Special)),
            ("10.1", Some(Class::Private)),
            ("notlocalhost", None),
            ("localhost.example", None),
        ] {
            let url = format!("http://{host}/").parse().unwrap();
            assert_eq!(Class::of_host(&url), class, "{host}");
        }
    }

    #[test]
    fn nothing_leads_further_in() {
        use Class::{Loopback, Private, Public, Special};
        for (from, allowed) in [
            (Public, &[Public][..]),
            (Private, &[Public, Private]),
            (Loopback, &[Public, Private, Loopback]),
            (Special, &[Public, Private, Special]),
        ] {
            let reach = Reach::Any.narrowed(from);
            for class in [Public, Private, Loopback, Special] {
                assert!(Reach::Any.allows(class));
                assert_eq!(reach.allows(class), allowed.contains(&class), "{from:?} {class:?}");
            }
        }
        // A way back in does not exist, either.
        let reach = Reach::Any.narrowed(Loopback).narrowed(Public).narrowed(Loopback);
        assert_eq!(reach, Reach::From(Public));
    }
}
