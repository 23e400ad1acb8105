//! Functions of networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use xbuild_wording::quoted;

use super::args::{Args, Native};
use crate::value::Value;

pub(super) const TABLE: &[(&str, Native)] = &[
    ("cidrhost", |args| {
        args.count(2)?;
        let network = network(args)?;
        let number = args.integer(1)?;
        let size = 1u128.checked_shl(network.width - network.prefix);
        let offset = match u128::try_from(number) {
            Ok(offset) => Some(offset),
            Err(_) => size.and_then(|size| size.checked_sub(u128::from(number.unsigned_abs()))),
        };
        let offset = offset.filter(|offset| size.is_none_or(|size| *offset < size));
        let offset = offset.ok_or_else(|| format!("the network has no host {number}"))?;
        Ok(Value::text(network.address(network.bits | offset)))
    }),
    ("cidrnetmask", |args| {
        args.count(1)?;
        let network = network(args)?;
        match network.width {
            32 => Ok(Value::text(network.address(network.mask()))),
            _ => Err("an IPv6 network has no mask".to_owned()),
        }
    }),
    ("cidrsubnet", |args| {
        args.count(3)?;
        let (network, bits, number) = (network(args)?, args.length(1)?, args.integer(2)?);
        let part =
            network.part(bits, u128::try_from(number).map_err(|_| "the number is negative")?)?;
        Ok(Value::text(part.to_string()))
    }),
    ("cidrsubnets", |args| {
        let base = network(args)?;
        let mut next = base.bits;
        let mut parts = Vec::new();
        for at in 1..args.values.len() {
            let part = base.deeper(args.length(at)?)?;
            let size = 1u128.checked_shl(base.width - part).ok_or("the part is the whole")?;
            // A larger part than the last one begins at a multiple of its size.
            let start = next.div_ceil(size).checked_mul(size);
            let start = start.filter(|start| start & base.mask() == base.bits);
            let start = start.ok_or("the network has no space for all parts")?;
            parts.push(Network { bits: start, prefix: part, ..base }.to_string());
            next = start.saturating_add(size);
        }
        Ok(Value::texts(parts))
    }),
];

/// A network, its bits without those of hosts.
#[derive(Clone, Copy)]
struct Network {
    bits: u128,
    prefix: u32,
    width: u32,
}

fn network(args: &Args<'_>) -> Result<Network, String> {
    let text = args.text(0)?;
    let fail = || format!("{text} is no network: expected ADDRESS/BITS", text = quoted(&text));
    let (address, prefix) = text.split_once('/').ok_or_else(fail)?;
    let (bits, width) = match address.parse().map_err(|_| fail())? {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let prefix = prefix.parse().ok().filter(|prefix| *prefix <= width).ok_or_else(fail)?;
    let network = Network { bits, prefix, width };
    Ok(Network { bits: bits & network.mask(), ..network })
}

impl Network {
    /// Returns the bits that all addresses share.
    fn mask(&self) -> u128 {
        let all = u128::MAX >> (128 - self.width);
        let hosts = u128::MAX.checked_shr(128 - (self.width - self.prefix)).unwrap_or(0);
        all & !hosts
    }

    fn address(&self, bits: u128) -> String {
        match (self.width, u32::try_from(bits)) {
            (32, Ok(bits)) => Ipv4Addr::from_bits(bits).to_string(),
            _ => Ipv6Addr::from_bits(bits).to_string(),
        }
    }

    /// Returns a longer prefix.
    fn deeper(&self, bits: usize) -> Result<u32, String> {
        let prefix = u32::try_from(bits).ok().and_then(|bits| self.prefix.checked_add(bits));
        prefix
            .filter(|prefix| *prefix <= self.width)
            .ok_or_else(|| format!("a prefix of {} bits cannot have {bits} more", self.prefix))
    }

    fn part(&self, bits: usize, number: u128) -> Result<Self, String> {
        let prefix = self.deeper(bits)?;
        if number.checked_shr(prefix - self.prefix).unwrap_or(0) != 0 {
            return Err(format!("{bits} bits do not reach to number {number}"));
        }
        let offset = number.checked_shl(self.width - prefix).unwrap_or(0);
        Ok(Self { bits: self.bits | offset, prefix, width: self.width })
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address(self.bits), self.prefix)
    }
}
