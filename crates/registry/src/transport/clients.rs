//! The HTTP clients: proxies, TLS, and one set of connections for each reach.
//!
//! Connections of one reach are not used for another: an open one may go to an address that the
//! other request may not reach.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::RequestError;
use crate::options::{ClientOptions, Proxies};
use crate::transport::names::{Names, Within};
use crate::transport::origin::{Origin, redact};
use crate::transport::proxy;
use crate::transport::reach::Reach;
use crate::transport::tls;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

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

/// Route, whether the URL is `https`, and the registry if it has certificates of its own.
type Key = (Route, bool, Option<String>);

#[derive(Debug)]
pub(super) struct Clients {
    options: Arc<ClientOptions>,
    /// Says which URLs go through a proxy.
    proxied: Matcher,
    names: Arc<Names>,
    /// Read with the first `https` URL; plain connections trust no certificate.
    tls: OnceLock<rustls::ClientConfig>,
    clients: Mutex<HashMap<Key, reqwest::Client>>,
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

    /// Returns the URL for a message, with the proxy that leads to it, if any.
    pub(super) fn shown(&self, route: Route, url: &Url) -> String {
        match (route, proxy::url(&self.options.proxies, url.scheme() == "https")) {
            (Route::Proxy, Ok(Some(proxy))) => {
                format!("{} through the proxy {}", redact(url), proxy::name(&proxy))
            }
            _ => redact(url),
        }
    }

    /// Returns the client for a URL and a route.
    pub(super) fn get(&self, route: Route, url: &Url) -> Result<reqwest::Client, RequestError> {
        let https = url.scheme() == "https";
        let name = Origin::of(url).map(|origin| origin.name()).filter(|_| https);
        let own = name.filter(|name| self.is_particular(name));
        let key = (route, https, own.clone());
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = self.build(route, https, own.as_deref())?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    /// Returns whether a registry has certificates of its own, or needs none.
    fn is_particular(&self, registry: &str) -> bool {
        let host = self.options.host(registry);
        self.options.is_insecure(registry)
            || host.is_some_and(|host| !host.roots.is_empty() || host.client_certificate.is_some())
    }

    /// Builds a client. No other function does, so all connections have the same rules.
    fn build(
        &self,
        route: Route,
        https: bool,
        own: Option<&str>,
    ) -> Result<reqwest::Client, RequestError> {
        let setup = |what| move |_| RequestError::Setup { what };
        let tls = match (https, own) {
            (true, Some(registry)) => self.tls_of(registry)?,
            (true, None) => self.tls()?,
            (false, _) => tls::config(rustls::RootCertStore::empty(), false, None)?,
        };
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
        if let (Route::Proxy, Some(url)) = (route, proxy::url(&self.options.proxies, https)?) {
            builder = builder.proxy(reqwest::Proxy::all(url).map_err(setup("the proxy"))?);
        }
        builder.build().map_err(setup("connections"))
    }

    fn tls(&self) -> Result<rustls::ClientConfig, RequestError> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls.clone());
        }
        let tls = tls::config(self.roots()?, false, None)?;
        Ok(self.tls.get_or_init(|| tls).clone())
    }

    /// Returns the TLS of a registry with certificates of its own, or that needs none.
    fn tls_of(&self, registry: &str) -> Result<rustls::ClientConfig, RequestError> {
        let host = self.options.host(registry);
        let mut roots = self.roots()?;
        for pem in host.into_iter().flat_map(|host| &host.roots) {
            tls::add(&mut roots, pem)?;
        }
        let certificate = host.and_then(|host| host.client_certificate.as_ref());
        tls::config(roots, self.options.is_insecure(registry), certificate)
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
            tls::add(&mut roots, pem)?;
        }
        Ok(roots)
    }
}
