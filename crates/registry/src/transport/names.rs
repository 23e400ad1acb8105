//! Looking names up, and leaving out the addresses that a request may not go to.
//!
//! The check is where the connection is made: no second look-up can give another address.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{GOOGLE, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::options::ClientOptions;
use crate::transport::reach::{Class, Reach};

/// The addresses of names, for all connections of a client.
#[derive(Debug)]
pub(super) struct Names {
    /// Addresses that are given, by name in lower case.
    given: BTreeMap<String, Vec<IpAddr>>,
    /// Made with the first look-up, since that is on the runtime.
    resolver: OnceLock<TokioResolver>,
}

impl Names {
    pub(super) fn new(options: &ClientOptions) -> Self {
        Self { given: options.addresses.clone(), resolver: OnceLock::new() }
    }

    async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, NetError> {
        let plain = name.trim_end_matches('.').to_ascii_lowercase();
        if let Some(given) = self.given.get(&plain) {
            return Ok(given.clone());
        }
        let resolver = match self.resolver.get() {
            Some(resolver) => resolver,
            None => {
                let made = make()?;
                self.resolver.get_or_init(|| made)
            }
        };
        Ok(resolver.lookup_ip(name).await?.iter().collect())
    }
}

/// Makes a resolver from `/etc/resolv.conf` and `/etc/hosts`; without the former it asks a public
/// server of names.
fn make() -> Result<TokioResolver, NetError> {
    let builder = TokioResolver::builder_tokio().unwrap_or_else(|_| {
        let config = ResolverConfig::udp_and_tcp(&GOOGLE);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    });
    builder.build()
}

/// Looks names up for requests with this reach.
#[derive(Debug)]
pub(super) struct Within {
    pub(super) names: Arc<Names>,
    pub(super) reach: Reach,
}

impl Resolve for Within {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, reach) = (Arc::clone(&self.names), self.reach);
        Box::pin(async move {
            let failed = |error| Unknown::of(name.as_str(), &error);
            let found = names.look_up(name.as_str()).await.map_err(failed)?;
            let allowed: Vec<IpAddr> =
                found.iter().copied().filter(|ip| reach.allows(Class::of(*ip))).collect();
            if let (true, Some(address)) = (allowed.is_empty(), found.first()) {
                return Err(Refused { address: *address }.into());
            }
            // The port comes from the URL.
            let addresses: Addrs =
                Box::new(allowed.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// A name without addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Unknown {
    #[error("no host has the name {0}")]
    Name(String),
    #[error("the name {0} cannot be looked up: {1}")]
    Answer(String, String),
}

impl Unknown {
    fn of(name: &str, error: &NetError) -> Self {
        let name = name.to_owned();
        if error.is_no_records_found() {
            return Self::Name(name);
        }
        Self::Answer(name, error.to_string())
    }
}

/// A name that has only addresses that the request may not go to.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{address} is out of reach")]
pub(super) struct Refused {
    pub(super) address: IpAddr,
}

impl Refused {
    /// Finds it among the causes of an error.
    pub(super) fn among(error: &reqwest::Error) -> Option<Self> {
        let mut cause = error.source();
        while let Some(error) = cause {
            if let Some(refused) = error.downcast_ref::<Self>() {
                return Some(*refused);
            }
            cause = error.source();
        }
        None
    }
}
