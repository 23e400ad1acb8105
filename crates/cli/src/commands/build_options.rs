//! What the arguments of `xbuild build` mean.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use xbuild_build::annotations::Annotations;
use xbuild_build::contexts::ContextPlace;
use xbuild_build::output::{self, Output, Target};
use xbuild_build::variant::{Variant, references, variants};
use xbuild_model::Reference;
use xbuild_model::run::Network;
use xbuild_plan::PlanOptions;

use super::build_args::{BuildArgs, Entitlement, NetworkArg};
use super::input::{InputOptions, key_values};
use crate::report::Problem;

/// A build, as it was meant.
#[derive(Debug)]
pub(super) struct BuildOptions {
    /// What the planner is told.
    pub(super) plan: PlanOptions,
    /// Where the contexts are that are no images, by name; the empty name is the main one.
    pub(super) contexts: BTreeMap<String, ContextPlace>,
    /// The names of the image.
    pub(super) names: Vec<Reference>,
    /// Where the result goes.
    pub(super) outputs: Vec<Output>,
    /// The forms that the image is wanted in, the main one first.
    pub(super) variants: Vec<Variant>,
    /// Whether to push under `names`.
    pub(super) push: bool,
    /// What manifests and index are annotated with.
    pub(super) annotations: Annotations,
    /// Steps at a time.
    pub(super) jobs: NonZeroUsize,
}

impl BuildOptions {
    /// Works out what was meant. Looks at what [`InputOptions::new`] looks at, nothing else.
    pub(super) fn new(args: &BuildArgs) -> Result<Self, Problem> {
        let InputOptions { plan, contexts } = InputOptions::new(&args.input)?;
        let outputs: Vec<Output> =
            args.output.iter().map(|text| output::parse(text)).collect::<Result<_, _>>()?;
        let push = args.push
            || outputs.iter().any(|o| matches!(o.target, Target::Image { push: true, .. }));
        let variants = variants(references(&args.tag)?, &outputs, args.push)?;
        let names: Vec<Reference> =
            variants.iter().flat_map(|variant| variant.names.clone()).collect();
        if push && names.is_empty() {
            return Err(Problem::command_line("--push needs a name for the image")
                .with_hint("give it one with --tag"));
        }
        if let Some(name) = names.iter().find(|name| name.digest().is_some()) {
            return Err(Problem::command_line(format!("a tag cannot have a digest: {name}")));
        }
        let plan = PlanOptions {
            labels: key_values("label", &args.label)?,
            network: match args.network {
                NetworkArg::Default => Network::Default,
                NetworkArg::None => Network::None,
                NetworkArg::Host => Network::Host,
            },
            allow_insecure: args.allow.contains(&Entitlement::SecurityInsecure),
            extra_hosts: args
                .add_host
                .iter()
                .map(|text| extra_host(text))
                .collect::<Result<_, _>>()?,
            ulimits: args.ulimit.iter().map(|text| ulimit(text)).collect::<Result<_, _>>()?,
            shm_size: match &args.shm_size {
                Some(text) => size(text)?,
                None => xbuild_plan::DEFAULT_SHM_SIZE,
            },
            ..plan
        };
        let one = NonZeroUsize::MIN;
        Ok(Self {
            plan,
            contexts,
            names,
            outputs,
            variants,
            push,
            annotations: Annotations::parse(&args.annotation)?,
            jobs: args.jobs.unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(one)),
        })
    }
}

fn extra_host(text: &str) -> Result<(String, String), Problem> {
    let fail =
        |reason: &str| Problem::command_line(format!("invalid --add-host {text:?}: {reason}"));
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or_else(|| fail("expected NAME:ADDRESS"))?;
    let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    if address == "host-gateway" {
        return Err(fail("host-gateway is not implemented: steps share the host's network"));
    }
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '#') {
        return Err(fail("the name is empty or has blanks"));
    }
    if address.parse::<std::net::IpAddr>().is_err() {
        return Err(fail("the address is no IP address"));
    }
    Ok((name.to_owned(), address.to_owned()))
}

fn ulimit(text: &str) -> Result<(String, u64, u64), Problem> {
    let fail =
        || Problem::command_line(format!("invalid --ulimit {text:?}: expected NAME=SOFT[:HARD]"));
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        text => text.parse().map_err(|_| fail()),
    };
    let (name, limits) = text.split_once('=').ok_or_else(fail)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (number(soft)?, number(hard)?);
    if name.is_empty() || soft > hard {
        return Err(fail());
    }
    Ok((name.to_owned(), soft, hard))
}

fn size(text: &str) -> Result<u64, Problem> {
    let fail = || {
        Problem::command_line(format!(
            "invalid --shm-size {text:?}: expected a number with b, k, m or g"
        ))
    };
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(fail()),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .filter(|n| *n > 0)
        .ok_or_else(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hosts_limits_and_sizes() {
        assert_eq!(extra_host("a:192.0.2.1").unwrap(), ("a".into(), "192.0.2.1".into()));
        assert_eq!(extra_host("b=[2001:db8::6]").unwrap(), ("b".into(), "2001:db8::6".into()));
        assert_eq!(extra_host("c:2001:db8::6").unwrap(), ("c".into(), "2001:db8::6".into()));
        for bad in ["a", "a:b", ":192.0.2.1", "a b:192.0.2.1", "a:host-gateway"] {
            assert!(extra_host(bad).is_err(), "{bad}");
        }
        assert_eq!(ulimit("nofile=333:444").unwrap(), ("nofile".into(), 333, 444));
        assert_eq!(ulimit("core=0").unwrap(), ("core".into(), 0, 0));
        assert!(ulimit("nofile=5:4").is_err());
        assert_eq!(size("8m").unwrap(), 8 << 20);
        assert_eq!(size("1024").unwrap(), 1024);
        assert!(size("m").is_err() && size("99999999999g").is_err() && size("5x").is_err());
    }
}
