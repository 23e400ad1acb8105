//! `semvercmp`: versions and constraints of them.
//!
//! **Source** — Masterminds/semver § Checking Version Constraints.

use std::cmp::Ordering;

use xbuild_wording::quoted;

use super::args::Native;
use crate::value::Value;

pub(super) const TABLE: &[(&str, Native)] = &[("semvercmp", |args| {
    args.count(2)?;
    let (version, constraint) = (args.text(0)?, args.text(1)?);
    let version = Version::parse(&version)
        .ok_or_else(|| format!("{version} is no version", version = quoted(&version)))?;
    let met = is_met(&version, &constraint);
    met.map(Value::Bool).ok_or_else(|| {
        format!("{constraint} is no constraint of versions", constraint = quoted(&constraint))
    })
})];

/// A version of up to three numbers.
#[derive(Debug, Clone)]
struct Version {
    /// Major, minor and patch; those that are not given are 0.
    numbers: [u64; 3],
    /// How many of them are given, and are no wildcard.
    given: usize,
    /// The parts of the pre-release.
    pre: Vec<String>,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let text = text.split('+').next()?;
        let (core, pre) = text.split_once('-').map_or((text, ""), |(core, pre)| (core, pre));
        let mut version = Self { numbers: [0; 3], given: 0, pre: Vec::new() };
        let mut is_wild = false;
        for (at, part) in core.split('.').enumerate() {
            let number = version.numbers.get_mut(at)?;
            if matches!(part, "x" | "X" | "*") {
                is_wild = true;
            } else {
                *number = part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())??;
                if !is_wild {
                    version.given = at + 1;
                }
            }
        }
        if !pre.is_empty() {
            version.pre = pre.split('.').map(str::to_owned).collect();
        }
        Some(version)
    }

    fn order(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| {
            match (self.pre.is_empty(), other.pre.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => pre_order(&self.pre, &other.pre),
            }
        })
    }

    /// Returns the first version whose given numbers differ at an index.
    fn next(&self, at: usize) -> Self {
        let mut numbers = [0; 3];
        for (place, number) in self.numbers.iter().enumerate().take(at + 1) {
            numbers[place] = if place == at { number.saturating_add(1) } else { *number };
        }
        Self { numbers, given: 3, pre: Vec::new() }
    }
}

fn pre_order(left: &[String], right: &[String]) -> Ordering {
    for (left, right) in left.iter().zip(right) {
        let order = match (left.parse::<u64>(), right.parse::<u64>()) {
            (Ok(left), Ok(right)) => left.cmp(&right),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => left.cmp(right),
        };
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len())
}

/// Returns whether a version is one of `a || b, c`. `None` if that is no constraint.
fn is_met(version: &Version, constraint: &str) -> Option<bool> {
    let mut is_any = false;
    for group in constraint.split("||") {
        let mut is_all = true;
        for term in terms(group)? {
            is_all &= term.is_met(version);
        }
        is_any |= is_all;
    }
    Some(is_any)
}

struct Term {
    operator: String,
    version: Version,
}

/// Reads the terms of a group: `>=1.2, <2` or `1.2 - 1.4`.
fn terms(group: &str) -> Option<Vec<Term>> {
    if let Some((from, to)) = group.split_once(" - ") {
        let term = |operator: &str, text| {
            Some(Term { operator: operator.to_owned(), version: Version::parse(text)? })
        };
        return Some(vec![term(">=", from)?, term("<=", to)?]);
    }
    let is_operator = |c: char| "=<>!~^".contains(c);
    let mut terms = Vec::new();
    let mut rest = group.trim();
    while !rest.is_empty() {
        let start = rest.find(|c: char| !is_operator(c)).unwrap_or(rest.len());
        let (operator, after) = rest.split_at(start);
        let after = after.trim_start();
        let end = after.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(after.len());
        terms.push(Term { operator: operator.to_owned(), version: Version::parse(&after[..end])? });
        let is_known = ["", "=", "!=", ">", "<", ">=", "=>", "<=", "=<", "~", "~>", "^"];
        if !is_known.contains(&operator) {
            return None;
        }
        rest = after[end..].trim_start_matches(|c: char| c == ',' || c.is_whitespace());
    }
    (!terms.is_empty()).then_some(terms)
}

impl Term {
    fn is_met(&self, version: &Version) -> bool {
        // A pre-release is meant only by a constraint that has one.
        if !version.pre.is_empty() && self.version.pre.is_empty() {
            return false;
        }
        let wanted = &self.version;
        let order = version.order(wanted);
        let below = |at: usize| version.order(&wanted.next(at)).is_lt();
        let within = match wanted.given {
            0 => true,
            3 => order.is_eq(),
            given => order.is_ge() && below(given - 1),
        };
        match self.operator.as_str() {
            "" | "=" => within,
            "!=" => !within,
            ">" => order.is_gt() && (wanted.given == 3 || !within),
            "<" => order.is_lt(),
            ">=" | "=>" => order.is_ge(),
            "<=" | "=<" => order.is_le() || within,
            "~" | "~>" => match wanted.given {
                0 => true,
                1 => order.is_ge() && below(0),
                _ => order.is_ge() && below(1),
            },
            _ => {
                let first = wanted.numbers.iter().take(wanted.given.max(1)).position(|n| *n > 0);
                let at = first.unwrap_or(wanted.given.saturating_sub(1));
                wanted.given == 0 || (order.is_ge() && below(at))
            }
        }
    }
}
