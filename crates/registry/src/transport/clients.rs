//! The HTTP clients: proxies, TLS, and one set of connections for each reach.
//!
//! Connections of one reach are not used for another: an open one may go to an address that the
//! other request may not reach.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::error::RequestError;
use crate::options::{ClientOptions, Proxies};
use crate::transport::names::{Names, Within};
use crate::transport::reach::Reach;

/// Hosts that are always reached directly.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// The way to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Route {
    /// A proxy makes the connection, to an address that only the proxy knows.
    Proxy,
    /// A connection of our own, to an address in reach.
    Direct(Reach),
}

#[derive(Debug)]
pub(super) struct Clients {
    options: Arc<ClientOptions>,
    /// Says which URLs go through a proxy.
    proxied: Matcher,
    names: Arc<Names>,
    /// Read with the first `https` URL; plain connections trust no certificate.
    tls: OnceLock<rustls::ClientConfig>,
    /// By route and whether the URL is `https`.
    clients: Mutex<HashMap<(Route, bool), reqwest::Client>>,
}

impl Clients {
    pub(super) fn new(options: Arc<ClientOptions>) -> Self {
        let Proxies { http, https, bypass } = &options.proxies;
        // Only whether there is a proxy matters here, not which.
        let some = |proxy: &Option<String>| proxy.as_ref().map_or("", |_| "http://proxy.invalid/");
        let proxied = Matcher::builder()
            .http(some(http))
            .https(some(https))
            .no(format!("{LOOPBACK},{bypass}"))
            .build();
        let names = Arc::new(Names::new(&options));
        Self { options, proxied, names, tls: OnceLock::new(), clients: Mutex::default() }
    }

    /// Returns the way to a URL.
    pub(super) fn route(&self, url: &Url, reach: Reach) -> Route {
        // `a.example.` is `a.example`: a dot must not lead around the list of direct hosts.
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        let uri = format!("{}://{host}/", url.scheme()).parse().ok();
        match uri.and_then(|uri| self.proxied.intercept(&uri)) {
            Some(_) => Route::Proxy,
            None => Route::Direct(reach),
        }
    }

    /// Returns the client for a route.
    pub(super) fn get(&self, route: Route, https: bool) -> Result<reqwest::Client, RequestError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&(route, https)) {
            return Ok(client.clone());
        }
        let client = self.build(route, https)?;
        clients.insert((route, https), client.clone());
        Ok(client)
    }

    /// Builds a client. No other function does, so all connections have the same rules.
    fn build(&self, route: Route, https: bool) -> Result<reqwest::Client, RequestError> {
        let setup = |what| move |_| RequestError::Setup { what };
        let tls = if https { self.tls()? } else { config(rustls::RootCertStore::empty())? };
        let reach = match route {
            Route::Proxy => Reach::Any,
            Route::Direct(reach) => reach,
        };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("xbuild/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.options.timeouts.connect)
            .dns_resolver(Arc::new(Within { names: Arc::clone(&self.names), reach }))
            .no_proxy();
        if route == Route::Proxy {
            let Proxies { http, https, bypass: _ } = &self.options.proxies;
            if let Some(url) = http {
                let proxy = reqwest::Proxy::http(url).map_err(setup("the proxy for http"))?;
                builder = builder.proxy(proxy);
            }
            if let Some(url) = https {
                let proxy = reqwest::Proxy::https(url).map_err(setup("the proxy for https"))?;
                builder = builder.proxy(proxy);
            }
        }
        builder.build().map_err(setup("connections"))
    }

    fn tls(&self) -> Result<rustls::ClientConfig, RequestError> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls.clone());
        }
        let tls = config(self.roots()?)?;
        Ok(self.tls.get_or_init(|| tls).clone())
    }

    /// Returns the certificates to trust: the system's, or Mozilla's if the system has none (as a
    /// container made from scratch), and the extra ones.
    fn roots(&self) -> Result<rustls::RootCertStore, RequestError> {
        let mut roots = rustls::RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(system.certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for pem in &self.options.extra_roots {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let setup = RequestError::Setup { what: "an extra certificate" };
                let Ok(certificate) = certificate else { return Err(setup) };
                if roots.add(certificate).is_err() {
                    return Err(setup);
                }
            }
        }
        Ok(roots)
    }
}

fn config(roots: rustls::RootCertStore) -> Result<rustls::ClientConfig, RequestError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| RequestError::Setup { what: "TLS" })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
