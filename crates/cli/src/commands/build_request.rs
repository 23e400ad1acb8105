//! From the arguments of `xbuild build` to a request.

use xbuild_build::BuildRequest;
use xbuild_build::request::{Output, StepsRequest, Target};
use xbuild_wording::quoted;

use super::build_args::{BuildArgs, Entitlement, NetworkArg};
use super::input::{self, key_values};
use super::source_rules;
use crate::environment;
use crate::report::Problem;
use crate::values::{annotation, attestation, bytes, cache, names, output, secret};

/// Returns the request of a build. Looks at no more than [`input::request`].
pub(super) fn request(args: &BuildArgs) -> Result<BuildRequest, Problem> {
    let input = input::request(&args.input)?;
    let outputs = args.output.iter().map(|text| output::parse(text));
    let mut outputs: Vec<Output> = outputs.collect::<Result<_, _>>()?;
    if args.load && !outputs.iter().any(|output| output.target == Target::Engine) {
        outputs.push(Output::new(Target::Engine));
    }
    let sources = source_rules::rules(args, &input.context)?;
    let (provenance, sbom) = (args.claims.provenance.as_deref(), args.claims.sbom.as_deref());
    let mut cache = cache::parse(&args.cache_from, &args.cache_to)?;
    cache::add_mounts(&mut cache, &args.cache_mounts_from, &args.cache_mounts_to)?;
    let (tags, platform_tags) = names::tags(&args.tag, &input.platforms)?;
    let mut attestations = attestation::parse(&args.attest, provenance, sbom)?;
    if args.metadata_file.is_some() {
        attestations.for_metadata = attestation::for_metadata(&environment::metadata_provenance())?;
    }
    Ok(BuildRequest {
        input,
        sources,
        steps: steps(args)?,
        cache,
        labels: key_values("label", &args.label)?,
        annotations: annotation::parse(&args.annotation)?,
        attestations,
        tags,
        platform_tags,
        outputs,
        push: args.push,
    })
}

fn steps(args: &BuildArgs) -> Result<StepsRequest, Problem> {
    let extra_hosts = args.add_host.iter().map(|text| extra_host(text, args.network));
    let ulimits = args.ulimit.iter().map(|text| ulimit(text));
    let secrets = args.secret.iter().map(|text| secret::secret(text));
    Ok(StepsRequest {
        no_cache: args.no_cache,
        no_cache_stages: args.no_cache_filter.clone(),
        jobs: args.jobs.jobs,
        isolation: args.isolation,
        emulation: args.emulation.into(),
        network: args.network.into(),
        allow_insecure: args.allow.contains(&Entitlement::SecurityInsecure),
        extra_hosts: extra_hosts.collect::<Result<_, _>>()?,
        ulimits: ulimits.collect::<Result<_, _>>()?,
        shm_size: args.shm_size.as_deref().map(size).transpose()?,
        secrets: secrets.collect::<Result<_, _>>()?,
        agents: args.ssh.iter().map(|text| secret::agent(text)).collect(),
    })
}

fn extra_host(text: &str, network: NetworkArg) -> Result<(String, String), Problem> {
    let fail = |reason: &str| {
        Problem::command_line(format!("invalid --add-host {text}: {reason}", text = quoted(&text)))
    };
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or_else(|| fail("expected NAME:ADDRESS"))?;
    let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    let address = match (address, network) {
        ("host-gateway", NetworkArg::Private) => {
            return Err(fail("with --network private nothing of this machine is in reach"));
        }
        // Steps share the network of this machine.
        ("host-gateway", _) => "127.0.0.1",
        (address, _) => address,
    };
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '#') {
        return Err(fail("the name is empty or has blanks"));
    }
    if address.parse::<std::net::IpAddr>().is_err() {
        return Err(fail("the address is not an IP address"));
    }
    Ok((name.to_owned(), address.to_owned()))
}

fn ulimit(text: &str) -> Result<(String, u64, u64), Problem> {
    let fail = || {
        Problem::command_line(format!(
            "invalid --ulimit {text}: expected NAME=SOFT[:HARD]",
            text = quoted(&text)
        ))
    };
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        text => text.parse().map_err(|_| fail()),
    };
    let (name, limits) = text.split_once('=').ok_or_else(fail)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (number(soft)?, number(hard)?);
    if xbuild_exec::resource_names().all(|known| known != name) {
        let known: Vec<&str> = xbuild_exec::resource_names().collect();
        let reason = format!("the resource is one of {}", known.join(", "));
        return Err(Problem::command_line(format!("invalid --ulimit {}: {reason}", quoted(text)))
            .did_you_mean(name, known, "="));
    }
    if soft > hard {
        let reason = "the soft limit, which comes first, is above the hard one";
        return Err(Problem::command_line(format!("invalid --ulimit {}: {reason}", quoted(text))));
    }
    Ok((name.to_owned(), soft, hard))
}

fn size(text: &str) -> Result<u64, Problem> {
    bytes::parse(text).ok_or_else(|| {
        Problem::command_line(format!(
            "invalid --shm-size {text}: expected a number with b, k, m or g",
            text = quoted(&text)
        ))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: BuildArgs,
    }

    #[test]
    fn a_request_survives_json() {
        let line = "xbuild --platform linux/amd64,linux/arm64 -t r.example/a -t r.example/b:1 \
            -t r.example/c:{arch} -f linux/arm64=other -f this \
            --build-arg a=b --build-context c=docker-image://busybox --target t --label l=v \
            --attest type=provenance,mode=max,builder-id=b --sbom --annotation index:n=v --push --add-host h=192.0.2.1 --ulimit core=0:unlimited \
            --shm-size 1g --secret id=s,src=file --secret id=v,env=VARIABLE --ssh default=/socket \
            -o type=registry,compression=zstd,compression-level=9 -o type=local,dest=out \
            --no-cache --no-cache-filter a,b --jobs 3 --isolation userns-single --network none --emulation intercept \
            --allow security.insecure \
            --cache-from r.example/c:main --cache-from type=local,src=c,verify=k \
            --cache-to type=registry,ref=r.example/c:x,mode=max,compression=zstd,sign=k \
            --cache-mounts-from r.example/c:main --cache-mounts-to type=local,dest=c,max-size=1m https://github.com/o/r.git#main:sub";
        let line = Line::try_parse_from(line.split_ascii_whitespace()).unwrap();
        let request = request(&line.args).unwrap();
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<BuildRequest>(&text).unwrap(), request, "{text}");
    }

    #[test]
    fn reads_hosts_limits_and_sizes() {
        let extra_host = |text| super::extra_host(text, NetworkArg::Default);
        assert_eq!(extra_host("a:192.0.2.1").unwrap(), ("a".into(), "192.0.2.1".into()));
        assert_eq!(extra_host("b=[2001:db8::6]").unwrap(), ("b".into(), "2001:db8::6".into()));
        assert_eq!(extra_host("c:2001:db8::6").unwrap(), ("c".into(), "2001:db8::6".into()));
        assert_eq!(extra_host("d:host-gateway").unwrap(), ("d".into(), "127.0.0.1".into()));
        for bad in ["a", "a:b", ":192.0.2.1", "a b:192.0.2.1"] {
            assert!(extra_host(bad).is_err(), "{bad}");
        }
        assert!(super::extra_host("d:host-gateway", NetworkArg::Private).is_err());
        assert_eq!(ulimit("nofile=333:444").unwrap(), ("nofile".into(), 333, 444));
        assert_eq!(ulimit("core=0").unwrap(), ("core".into(), 0, 0));
        assert!(ulimit("nofile=5:4").unwrap_err().message().ends_with("above the hard one"));
        assert!(
            ulimit("nofiles=5").unwrap_err().render().ends_with("hint: did you mean nofile=?\n")
        );
        assert_eq!(size("8m").unwrap(), 8 << 20);
        assert_eq!(size("1024").unwrap(), 1024);
        assert!(size("m").is_err() && size("99999999999g").is_err() && size("5x").is_err());
    }
}
